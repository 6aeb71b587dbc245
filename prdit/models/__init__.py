"""The networks of the paper (section 3). Torch only; they know no data, training or files."""
