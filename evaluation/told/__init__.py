"""What is said, scored: grounded captions, captions of regions, answers to questions about pictures and videos."""
