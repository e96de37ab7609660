"""ReasonSeg: implicit questions about pictures, with pixels that nobody is scored on."""
