"""The tiny multimodal LLM that ships in data/tiny_vlm, made from scratch: `python -m tools.tiny_vlm`."""
