"""The prompts of the teacher with their JSON schemas, one file each."""

from .prompt import (
    ATTRIBUTION,
    DIRECT,
    JUDGE,
    REQUESTS,
    Message,
    Prompt,
    PromptSet,
    find_folder,
    list_names,
    load_comparison_prompt,
    load_direct_prompts,
    load_judge_prompts,
    load_prompts,
)

__all__ = [
    "ATTRIBUTION",
    "DIRECT",
    "JUDGE",
    "REQUESTS",
    "Message",
    "Prompt",
    "PromptSet",
    "find_folder",
    "list_names",
    "load_comparison_prompt",
    "load_direct_prompts",
    "load_judge_prompts",
    "load_prompts",
]
