"""The tiny pretrained models of the toy world, and the script that makes them."""
