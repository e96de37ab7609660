"""ReasonSeg's own protocol (its questions by length) and scripts: implicit questions, with pixels that nobody is scored on."""
