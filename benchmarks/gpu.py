"""`make bench-gpu`: InternVL2-8B's sizes with random weights: images/s, ratio to one by one, share of the GPU's peak.

Prints a table for docs/performance.md and the costliest operations. `--size tiny --device cpu` tries it out.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers as hf
from torch.profiler import ProfilerActivity, profile

from benchmarks.floor import floor_flops
from benchmarks.noise import noise
from benchmarks.questions import questions
from benchmarks.vlms import TEXTS
from makd.scorer import Scorer, p_yes
from makd.vlm import VLM
from tests.tiny_models import internvl_config, internvl_processor

TILES = {1: (448, 448), 7: (1344, 896), 13: (1792, 1344)}
"""Pictures that InternVL cuts into so many tiles of 448 px, with the thumbnail."""
SIZES = {
    "8b": (
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
        {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 14336}
        | {"num_key_value_heads": 8, "vocab_size": 92553},
    ),
    "tiny": (
        {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128},
        {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
        | {"num_key_value_heads": 2},
    ),
}
COMMON = {"model_type": "llama", "pad_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False}
BATCH = {1: 16, 7: 4, 13: 2}
SAMPLE = 3


def save_model(folder: Path, size: str, dtype: torch.dtype) -> Path:
    vision, text = SIZES[size]
    processor = internvl_processor(tile_px=448, tokens_a_tile=256, max_tiles=12, texts=TEXTS)
    config = internvl_config(processor, vision | {"image_size": 448, "patch_size": 14}, COMMON | text)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        hf.InternVLForConditionalGeneration(config).to(dtype).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def seconds(task: Callable[[], object], device: torch.device, rounds: int) -> float:
    """The least time of `rounds`, the device waited for."""
    best = float("inf")
    for _ in range(rounds + 1):  # the first one warms up
        start = time.perf_counter()
        task()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """FLOP/s of a large matrix product."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: left @ right, device, rounds=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="8b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "no GPU here; `--size tiny --device cpu` tries the script out\n")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    rate = matmul_rate(device, dtype, 8192 if arguments.size == "8b" else 512)
    print(f"{name}, {dtype}, torch {torch.__version__}: {rate / 1e12:.3g} TFLOP/s in a matrix product")
    print("| tiles | prefix | images/s | preprocessing, images/s a process | one by one | share of the peak | max dq |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = save_model(Path(folder), arguments.size, dtype)
        scorer = Scorer(VLM(path, dtype=dtype, device=device), questions(arguments.questions))
        for tiles, size in TILES.items():
            print(row(scorer, tiles, size, device, rate, arguments.rounds), flush=True)
        inputs = scorer.conversation.inputs(noise(TILES[7]))
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
        with profile(activities=activities) as profiler:
            scorer.score([inputs] * BATCH[7])
        print(profiler.key_averages().table(sort_by=f"self_{device.type}_time_total", row_limit=15))


def row(scorer: Scorer, tiles: int, size: tuple[int, int], device: torch.device, rate: float, rounds: int) -> str:
    image = noise(size)
    scorer.prepare(image)
    assert scorer.branches is not None
    start = time.perf_counter()
    inputs = scorer.conversation.inputs(image)
    reading = time.perf_counter() - start
    batch = [inputs] * BATCH[tiles]
    each = seconds(lambda: scorer.score(batch), device, rounds) / len(batch)
    questions = range(len(scorer.conversation.prompts))
    asked = list(questions)[:: max(1, len(questions) // SAMPLE)][:SAMPLE]
    pairs = [scorer.vlm.to_model(scorer.conversation.inputs(image, k)) for k in asked]

    @torch.inference_mode()
    def one_by_one() -> list[torch.Tensor]:
        return [scorer.vlm.model(**pair, logits_to_keep=1).logits for pair in pairs]

    alone = seconds(one_by_one, device, rounds) / len(asked)
    packed = scorer.score([inputs])[0, asked]
    plain = torch.stack([scorer.two_rows(scorer.one_by_one(image, k)[0]).cpu() for k in asked])
    prefix = inputs["input_ids"].shape[1] - len(scorer.branches.tails[0]) + scorer.branches.shared
    lengths = [scorer.conversation.inputs(image, k)["input_ids"].shape[1] - prefix for k in questions]
    share = floor_flops(scorer.vlm.model.config, inputs["pixel_values"].shape[0], prefix, lengths) / each / rate
    difference = (p_yes(packed) - p_yes(plain)).abs().max().item()
    return (
        f"| {tiles} | {prefix} | {1 / each:.3g} | {1 / reading:.3g} | {alone * len(questions) / each:.3g} x | "
        f"{share:.0%} | {difference:.1g} |"
    )


if __name__ == "__main__":
    main()
