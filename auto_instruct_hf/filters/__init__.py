"""Rules that find broken instructions, inputs and outputs, each with its reason; words in `core/*_filters.yaml`."""

from .inputs import find_input_fault, is_placeholder
from .instructions import clean_instruction, find_instruction_fault
from .outputs import find_output_fault

__all__ = ["clean_instruction", "find_input_fault", "find_instruction_fault", "find_output_fault", "is_placeholder"]
