"""Scripts for LV-VIS val: videos with objects of 1,196 classes."""
