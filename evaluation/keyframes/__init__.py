"""Key frames of videos: the IoUs that a selector learns from, the frames that it chooses, and walks that set out from them."""
