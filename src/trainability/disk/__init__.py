"""What is on the disk stays whole: files replaced at once, files with their checksum, directories held by one process."""
