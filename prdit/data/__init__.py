"""CT volumes: from DICOM series to windowed arrays a generator trains on."""
