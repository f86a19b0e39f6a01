"""makd: what a multimodal LLM sees in an image, distilled into a small image classifier.

Symbols used throughout: B images in a batch, C classes, Q aspects (yes/no questions), N candidate questions.
"""
