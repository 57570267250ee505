"""The models that the simulated provider offers unless told otherwise, with their published prices, by what they give.

Figures of August 2026 (https://www.segmind.com). Knows no parameters: the real service validates after queueing too.
"""

from __future__ import annotations

from typing import Literal

VIDEO_PRICES_USD: dict[str, float] = {
    "kling-v1-pro-ai-avatar": 4.475,
    "kling-v1-standard-ai-avatar": 2.28,
    "kling-v2-pro-avatar": 5.29,
    "kling-v2-standard-avatar": 2.78,
    "infinite-talk": 0.46,
    "p-video-avatar": 0.81,
    "hallo": 0.42,
    "sadtalker": 0.18,
    "sync.so-lipsync-2-pro": 1.06,
    "seedance-2.0": 1.21,
    "seedance-2.0-fast": 0.77,
    "seedance-2.0-mini": 0.4,
    "seedance-1.5-pro": 0.41,
    "seedance-pro": 0.35,
    "kling-2.6": 1.11,
    "kling-2.6-pro-motion-control": 1.72,
    "kling-2.5-turbo": 0.57,
    "kling-2.1": 0.9,
    "veo-3": 5.19,
    "hailuo-2.3": 0.53,
    "hailuo-2.3-fast": 0.39,
    "hailuo-02-fast": 0.16,
    "minimax-hailuo-2": 0.39,
    "wan-2.2-i2v-flash": 0.17,
    "ltx-2-fast": 0.52,
    "runway-gen4-turbo": 0.77,
    "ray-flash-2-720p": 0.43,
}
IMAGE_PRICES_USD: dict[str, float] = {
    "seedream-4.5": 0.04,
    "seedream-4": 0.035,
    "nano-banana": 0.036,
    "nano-banana-2": 0.092,
    "gpt-image-1": 0.18,
    "gpt-image-1-mini": 0.037,
    "flux-1.1-pro": 0.05,
    "flux-dev": 0.02,
    "flux-schnell": 0.0079,
    "fast-flux-schnell": 0.0055,
    "qwen-image": 0.12,
    "ideogram-3": 0.065,
    "sdxl1.0-txt2img": 0.008,
    "faceswap-v4": 0.12,
    "faceswap-v5": 0.05,
    "bg-removal-v2": 0.00089,
    "esrgan": 0.0047,
}
AUDIO_PRICES_USD: dict[str, float] = {
    "chatterbox-tts": 0.02,
    "dia": 0.07,
    "orpheus-3b-0.1": 0.12,
    "tts-eleven-labs": 0.095,
    "myshell-tts": 0.0063,
    "lyria-2": 0.09,
    "meta-musicgen-medium": 0.041,
    "ace-step-music": 0.035,
}
TEXT_PRICES_USD: dict[str, float] = {
    "gpt-5.5": 0.04,
    "gpt-5-mini": 0.01,
    "gpt-4o": 0.0075,
    "claude-4.5-sonnet": 0.046,
    "claude-4-sonnet": 0.021,
    "gemini-2.5-flash": 0.0038,
    "deepseek-chat": 0.0013,
    "llama-v3p1-8b-instruct": 2.7e-05,
}
PRICES_USD = VIDEO_PRICES_USD | IMAGE_PRICES_USD | AUDIO_PRICES_USD | TEXT_PRICES_USD
SHAPES: dict[str, Literal["image", "audio", "text"]] = {
    **{model: "image" for model in IMAGE_PRICES_USD},  # noqa: C420 (mypy keeps the literal only so)
    **{model: "audio" for model in AUDIO_PRICES_USD},  # noqa: C420
    **{model: "text" for model in TEXT_PRICES_USD},  # noqa: C420
}
"""The shape of the results of models that give no film; see ``result_body``."""
