"""PRDiT: 3D chest-CT volumes generated in voxel space, from DICOM to the paper's tables."""

__version__ = "0.1.0"
