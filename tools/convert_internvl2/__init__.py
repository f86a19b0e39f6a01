"""InternVL2 as published, into transformers' native classes: `python -m tools.convert_internvl2 SOURCE OUTPUT`."""
