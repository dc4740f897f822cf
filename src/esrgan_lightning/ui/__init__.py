"""A local web page: enlarge a photo, walk from the PSNR to the GAN network, follow a run."""
