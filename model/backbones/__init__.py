"""Multimodal LLMs: dialogues to ids, pixels and ids to states."""
