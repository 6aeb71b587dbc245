// What torch's C++ code asks of a CUDA device, answered without one; loaded before torch's own.
//
// Until `claim` is called torch sees no device, so that it installs guards that do nothing.
#include <cstdint>
#include <cstring>

#include "driver_types.h"

#define ANSWER __attribute__((visibility("default")))

static int8_t devices = 0;
static cudaDeviceProp properties;

extern "C" ANSWER void claim(int major, int minor, int processors, int shared_memory) {
  memset(&properties, 0, sizeof properties);
  strcpy(properties.name, "a device that is not there");
  properties.major = major;
  properties.minor = minor;
  properties.multiProcessorCount = processors;
  properties.totalGlobalMem = (size_t)80 << 30;
  properties.warpSize = 32;
  properties.maxThreadsPerBlock = 1024;
  properties.maxThreadsPerMultiProcessor = 2048;
  properties.regsPerBlock = 65536;
  properties.sharedMemPerBlock = 49152;
  properties.sharedMemPerBlockOptin = shared_memory;
  properties.l2CacheSize = 40 << 20;
  devices = 127;  // the most there can be: threads of gradients ask for devices beyond the first
}

namespace c10::cuda {
ANSWER int8_t device_count() noexcept { return devices; }
ANSWER int8_t current_device() { return 0; }
}  // namespace c10::cuda

namespace at::cuda {
ANSWER cudaDeviceProp* getCurrentDeviceProperties() { return &properties; }
ANSWER cudaDeviceProp* getDeviceProperties(int8_t) { return &properties; }
}  // namespace at::cuda
