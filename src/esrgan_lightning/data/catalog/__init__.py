"""Sets of images from elsewhere: which there are, fetched, unpacked and checked."""
