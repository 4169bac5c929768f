"""The filters know what teachers write besides tasks and answers, and leave alone what only looks like it."""

import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broken_texts import DROPPED_INSTRUCTIONS, DROPPED_OUTPUTS, WRAPPED_HAIKU
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_instruct_hf.core import load_filters, text_or_nothing
from auto_instruct_hf.errors import RecipeError
from auto_instruct_hf.filters import (
    clean_instruction,
    find_input_fault,
    find_instruction_fault,
    find_output_fault,
)
from auto_instruct_hf.settings import FiltersSettings

FILTERS = load_filters()
TASK = "Write a short note about keeping bees in a city garden."
CASES = Path(__file__).parents[2] / "shared" / "cases"
WRAPPED = """Convert 12 miles to kilometres.
1. Convert 12 miles to kilometres.
12) Convert 12 miles to kilometres.
- Convert 12 miles to kilometres.
* **Convert 12 miles to kilometres.**
(b) Convert 12 miles to kilometres.
#3: Convert 12 miles to kilometres.
"Convert 12 miles to kilometres."
\u201cConvert 12 miles to kilometres.\u201d
'Convert 12 miles to kilometres.'
Convert 12 miles to kilometres."
Instruction: Convert 12 miles to kilometres.
**Task 4:** Convert 12 miles to kilometres.
Task 4 - Convert 12 miles to kilometres.
### Instruction:\\nConvert 12 miles to kilometres.
Q: Convert 12 miles to kilometres.
Here is a new task: Convert 12 miles to kilometres.
Sure! Here's another question for you: Convert 12 miles to kilometres.
<task>Convert 12 miles to kilometres.</task>
[Task] Convert 12 miles to kilometres.
[INST] Convert 12 miles to kilometres. [/INST]
<|im_start|>user\\nConvert 12 miles to kilometres.<|im_end|>
Convert 12 miles to kilometres.</s>
2. "Prompt: Convert 12 miles to kilometres."<|endoftext|>"""
INSTRUCTIONS = {
    "several tasks": """1. Write a poem about rain. 2. Explain how vaccines work.
1) Write a poem about rain.\\n2) Explain how vaccines work.
Write a poem about rain. 2. Explain how vaccines work.
- Write a poem about rain.\\n- Explain how vaccines work.
Task 1: Write a poem about rain. Task 2: Explain how vaccines work.
Instruction: Write a poem about rain.\\nInstruction: Explain how vaccines work.
Write a poem about rain.\\n\\nExplain how vaccines work to a child.
Write a poem about rain.\\n---\\nExplain how vaccines work.
Write a poem about rain. ### Explain how vaccines work.
Write a poem about rain | Explain how vaccines work | List three fruits
Write a poem about rain.Explain how vaccines work to a child.
["Write a poem about rain", "Explain how vaccines work"]
Reverse the word.\\nInput: abc\\nOutput: cba""",
    "refusal": """I'm sorry, but I can't help with creating more tasks.
I cannot generate instructions about this topic.
As an AI language model, I am unable to produce tasks of this kind.""",
    "announcement": """Here are 10 new tasks:
Sure, here are some more tasks for you:
Certainly! Below are five classification tasks:
The following are ten diverse instructions:
I hope these tasks are helpful for you!""",
    "leading punctuation": """, and then explain why it matters to farmers.
; write a summary of the second chapter.
? What does the word mean in this context
...continue the story from where it stopped.""",
    "template token": """Explain {{ input }} in simple terms, please.
Explain what a firewall <|pad|> does to packets.
Explain what a firewall does.\\nAssistant: It filters packets.""",
    "needs a browser or a clock": """What is the weather like in Lisbon today?
What time is it in Tokyo right now?
Tell me today's date and the day of the week.
Search the internet for reviews of electric cars.
Look up the current share price of Siemens.
Please visit the website of the council and list its departments.
Summarize the article at https://example.org/news/42 in two lines.
What are the latest headlines about the elections?
How many days are left until Christmas?
Set a timer for ten minutes.
Find three good restaurants near me that open on Sunday.
Who won the football match last night?""",
    "needs more than text": """Draw a cat that sleeps on a sofa.
Create an image of a castle at sunset.
Describe what you see in the picture.
Could you describe the image below in one sentence?
Write a caption for the attached photo.
Look at the map and name the largest lake.
Plot a graph of y = x squared.
Open the attached file and count its rows.
Name five rivers and save your answer as a PDF file.
Please go to the library and borrow an atlas.
Transcribe the audio clip into text.
Based on the graph, which year had the highest sales?
Take a photo of your desk and describe it.""",
    "mojibake": "Translate the word caf\u00c3\u00a9 into German.",
    "control characters": "Translate the word\x00 house into German.",
}
SOUND_INSTRUCTIONS = """Explain the plot of the story in three sentences.
Teach me to tie a bowline without pictures.
Draw a conclusion from the two paragraphs below.
Draw up a packing list for a week in Norway.
Write a Python script that opens a CSV file and plots a graph.
Write alt text for a picture of a red bicycle that leans on a wall.
Translate "What time is it?" into Spanish.
It is 3 pm in Paris. What time is it in Tokyo?
What is the difference between weather and climate?
Describe the painting Guernica by Picasso.
Which file format keeps transparency, PNG or JPEG?
Go through the list and mark the verbs.
Do the following: 1. Read the text. 2. Translate it into German. 3. Count the words.
Write three sentences about rain.\\nThen translate them into French.
"Break a leg" and "piece of cake": explain both idioms.
3D printing: explain it to a child.
12 - 5 is what, in words?
c. 1500: which painters worked in Florence then?
\u2603 is what kind of symbol?
.NET or Java: which suits a small shop?
I can't open my front door because the key broke. What can I do?
I don't have access to an oven. Suggest three cakes without baking.
Can you give me a list of five questions for an interview?
As an AI researcher, I need a title for my talk. Suggest three.
Let me know how to boil an egg.
How many days are there between 3 March and 17 May?
Write an email inviting customers to visit our website.
Write a regex that matches https://example.com links.
Design a logo concept for a bakery and explain it.
Replace the <mask> token in the text with a word that fits.
\u8bf7\u628a\u8fd9\u53e5\u8bdd\u7ffb\u8bd1\u6210\u82f1\u6587"""
OUTPUTS = {
    "placeholder": """<No response>
N/A.
(none)
Not available
**[Your response]**
[insert answer here]
<your answer here>
<image of a bee on a flower>
To be determined.
Answer goes here
Todo: write the note
```python\\n```
```python\\n# Your code here\\n```
Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna.""",
    "refusal": """I'm sorry, but I cannot help with that.
Sorry, I can\u2019t comply with that request.
As an AI, I don't have feelings, so I cannot say.
I am unable to provide an answer to this question.
I do not have access to real-time information.
Unfortunately, I cannot see the image you mentioned.
Could you please provide the text you want me to summarise?
Sure! Please share the paragraph you would like me to rewrite.
It seems that no text was provided.
I need more context to answer this question.
As of my last update in 2023, the record was held by Kenya.
It's not possible to answer this question without more context.""",
    "announcement": """Sure!
Certainly! Here is a poem about the sea.
Of course, I'd be happy to help you with that.
Here's a short note about bees
Sure!\\n\\nHere is the note you asked for.
I hope this helps! Let me know if you need anything else.""",
    "ends with a colon": """The steps for keeping bees are:
Bees need three things:\\n
A note on bees, **as asked:**
\u871c\u8702\u9700\u8981\u4e09\u6837\u4e1c\u897f\uff1a""",
    "template token": """The hive needs sun.<|im_end|>
The hive needs sun.</s>
### Response:\\nThe hive needs sun.
The hive needs sun.\\nHuman: Thanks.
<start_of_turn>model\\nThe hive needs sun.""",
    "thought": """<think>A note, then.</think>The hive needs sun.
They want a note on bees.\\n</think>\\n\\nThe hive needs sun.
Okay, the user wants a short note about bees.
Alright, so I need to write a note about bees.
[Reasoning] A note.\\nThe hive needs sun.""",
    "control characters": "The\x1b[31m hive needs sun.\n\ufeffThe hive needs sun.\nThe hive \ue200cite\ue202 is up.",
    "mojibake": "It\u00e2\u20ac\u2122s warm in the hive.\nThe hive \ufffd needs sun.\nHoney costs \u00c2\u00a35 here.",
    "escape sequences": r"""Bees need sun.\nThey need water.\nThey need flowers.
First, a sunny place.\n\nSecond, water.""".replace("\\", "\\\\"),
    "output equals the instruction": f'{TASK.upper()}\n"{TASK}"',
    "output holds the instruction": f"{TASK} Bees need sun.",
}
SOUND_OUTPUTS = [
    ("Translate 'Je suis d\u00e9sol\u00e9' into English.", "I'm sorry."),
    ("Decline an invitation.", "Dear Tom,\nI'm sorry, but I can't come on Friday."),
    ("Which Python keyword stands for no value?", "None"),
    ("Answer N/A if the year is unknown. When was it built?", "N/A"),
    ("Which tag makes a table row in HTML?", "<tr>"),
    ("Write a regular expression for lower-case words.", "[a-z]+"),
    ("Give the first three primes as a list in Python.", "[2, 3, 5]"),
    ("Write the opening line of a speech.", "I cannot give you the stars, but I can give you tonight."),
    ("Write a haiku about the moon.", "Here is the pale moon\nresting on the garden wall\nno one else awake"),
    ("Is 7 a prime?", "Yes, it is."),
    ("Compare three fruits.", "| fruit | floats |\n|---|---|\n| apple | yes |\n| grape | no |\n| plum | no |"),
    ("Write a dialogue of a user and an assistant.", "User: Do bees sleep?\nAssistant: Yes, at night."),
    ("Explain the tag </s> in language models.", "The end of a text is marked with </s>"),
    ("How does a reasoning model end its thoughts?", "It ends the block with </think> and goes on."),
    ("Write a Jinja template that greets a user by name.", "Hello {{ user }}!"),
    ("Give a short toast.", "Here's to friends who stay!"),
    ("What is 1/3 as a decimal with 45 digits?", "0." + "3" * 45),
    ("Draw a line with dashes.", "-" * 60),
    ("Write 'I will not talk in class' twenty times.", "I will not talk in class. " * 20),
    ("Write a template of a letter.", "Dear [Name],\n\nThank you for your visit on [date].\n\n[Your name]"),
    ("Write C code that prints two lines.", 'printf("One.\\nTwo.\\n");'),
    ("Write a line in Persian.", "\u0645\u06cc\u200c\u0646\u0648\u06cc\u0633\u0645"),
    ("Write a flag.", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"),
]


def each(catalogue: dict[str, str]) -> Iterator[tuple[str, str]]:
    for reason, texts in catalogue.items():
        yield from ((reason, text.replace("\\n", "\n")) for text in texts.replace("\\\\n", "\0").split("\n"))


def output_fault(output: str, instruction: str = TASK, **values: Any) -> str | None:
    whole: dict[str, Any] = {"given": "", "attribute": "", "is_classification": False, "filters": FILTERS, **values}
    return find_output_fault(output.replace("\0", "\\n"), instruction, **whole)


@pytest.mark.parametrize("text", WRAPPED.split("\n"))
def test_what_wraps_an_instruction_is_removed(text: str) -> None:
    text = text.replace("\\n", "\n")
    assert clean_instruction(text, FILTERS) == "Convert 12 miles to kilometres."
    assert find_instruction_fault(text, FILTERS) is None


@pytest.mark.parametrize(("reason", "text"), [*each(INSTRUCTIONS)])
def test_instructions_that_cannot_be_mended_are_dropped(reason: str, text: str) -> None:
    assert find_instruction_fault(text, FILTERS) == reason


@pytest.mark.parametrize("text", WRAPPED_HAIKU)
def test_many_wrappings_are_removed(text: str) -> None:
    assert clean_instruction(text, FILTERS) == "Write a haiku about winter."


@pytest.mark.parametrize("text", DROPPED_INSTRUCTIONS)
def test_many_broken_instructions_are_dropped(text: str) -> None:
    assert find_instruction_fault(text, FILTERS)


@pytest.mark.parametrize("text", DROPPED_OUTPUTS)
def test_many_broken_outputs_are_dropped(text: str) -> None:
    assert output_fault(text, "Explain how a sourdough starter works to a beginner.")


@pytest.mark.parametrize("text", SOUND_INSTRUCTIONS.split("\n"))
def test_sound_instructions_stay_as_they_are(text: str) -> None:
    text = text.replace("\\n", "\n")
    assert find_instruction_fault(text, FILTERS) is None
    assert clean_instruction(text, FILTERS) == text


@settings(max_examples=200)
@given(st.text(st.sampled_from(string.printable + "\u201c\u201d\u2022"), max_size=40))
def test_cleaning_removes_from_the_ends_only_and_ends(text: str) -> None:
    cleaned = clean_instruction(text, FILTERS)
    assert cleaned in text
    assert bool(cleaned) == bool(text.strip())


@pytest.mark.parametrize(("reason", "text"), [*each(OUTPUTS)])
def test_broken_outputs_are_dropped_with_their_reason(reason: str, text: str) -> None:
    assert output_fault(text) == reason


@pytest.mark.parametrize(
    "text",
    [
        "bee " * 40,
        "Bees need sun. They also like " + "flowers and water, " * 25,
        "\n".join(f"{number}. Feed the bees well" for number in range(1, 30)),
        "z" * 200,
        "\u871c\u8702\u5f88\u5fd9\u3002" * 30,
        "It is 0." + "3" * 300,
    ],
    ids=["word", "phrase", "line", "letter", "Chinese", "digits"],
)
def test_endless_repetition_is_found(text: str) -> None:
    assert output_fault(text) == "endless repetition"


@pytest.mark.parametrize(("instruction", "output"), SOUND_OUTPUTS)
def test_sound_outputs_stay(instruction: str, output: str) -> None:
    assert output_fault(output, instruction) is None


def test_outputs_do_not_hold_the_input_unless_the_task_is_to_go_on_with_it() -> None:
    text = "The hive on the roof of the hall gave forty jars of honey last summer."
    assert output_fault(f"{text} So: forty.", "How many jars were there?", given=text) == "output holds the input"
    assert output_fault(f"{text} Then it rained.", "Continue the text.", given=text) is None
    assert output_fault("black sheep: an outcast", "Explain the idiom.", given="black sheep") is None


def test_outputs_are_not_their_strategy() -> None:
    strategy = "Warn of the stings first, then praise the honey."
    assert output_fault(strategy, attribute=strategy) == "output equals the strategy"
    assert output_fault(f"I {strategy.lower()} Bees sting.", attribute=strategy) == "output holds the strategy"


def test_a_label_may_be_a_word_for_nothing_but_no_template_token() -> None:
    for label in ("None", "N/A", "Refusal", "Sure!", "a:"):
        assert output_fault(label, is_classification=True, attribute=label) is None
    assert output_fault("spam<|im_end|>", is_classification=True) == "template token"


NOTHING = """No input is required for this task.
There is no input.
*No input*
### Input:\\nNone
Input: N/A
(left blank)
[[none]]
no_input_required
No additional context is needed.
This task does not require any input.
Not applicable to this task
N/A - no input needed
None (no additional input)
See instruction.
\u201cNone\u201d
\u2014
{}"""


@pytest.mark.parametrize("text", NOTHING.split("\n"))
def test_words_for_nothing_in_any_dress_are_no_input(text: str) -> None:
    assert text_or_nothing(text.replace("\\n", "\n")) == ""


@pytest.mark.parametrize(
    "text",
    ["Nothing compares to you", "None of the above", "No data found in table 3", "Input the number 5", "Empty the bin"],
)
def test_texts_that_begin_like_nothing_are_inputs(text: str) -> None:
    assert text_or_nothing(text) == text


PLACEHOLDERS = """[Paste your text here]
(attached image)
<insert paragraph>
{text}
Text: [insert the article here]
See attached file.
Text provided by the user
User-provided text
A file uploaded by the user
[Customer review]
[name of the city]
Please provide the text you want to translate.
TBD"""


@pytest.mark.parametrize("text", PLACEHOLDERS.split("\n"))
def test_placeholders_are_no_inputs(text: str) -> None:
    assert find_input_fault(text, "Summarise the passage in one line.", FILTERS) == "placeholder"


@pytest.mark.parametrize(
    "text",
    ["[1, 2, 3]", "[x for x in y]", "<b>bold</b>", '{"a": 1}', "(The Beatles)", "User: hi\nBot: hello", "3x + 5 = 20",
     "The invoice is attached, as agreed.", "Enter your PIN to continue.", "[apple, pear]", "https://example.org"],
)  # fmt: skip
def test_odd_but_sound_inputs_stay(text: str) -> None:
    assert find_input_fault(text, "Summarise the passage in one line.", FILTERS) is None


def test_lists_are_extended_replaced_and_rules_turned_off_by_the_recipe() -> None:
    more = load_filters(FiltersSettings(refusals=("no can do",)))
    assert find_output_fault("No can do: ask another.", TASK, "", "", False, more) == "refusal"
    assert find_output_fault("I'm sorry, but I cannot help with that.", TASK, "", "", False, more) == "refusal"
    none = load_filters(FiltersSettings(language="none", nothing=("rien",)))
    assert (text_or_nothing("None", none), text_or_nothing("(Rien)", none)) == ("None", "")
    assert find_output_fault("I'm sorry, but I cannot help with that.", TASK, "", "", False, none) is None
    off = load_filters(FiltersSettings(skip=("refusal", "placeholder")))
    assert find_output_fault("I'm sorry, but I cannot help with that.", TASK, "", "", False, off) is None
    assert find_output_fault("The hive needs sun.</s>", TASK, "", "", False, off) == "template token"
    assert load_filters(more) == more


def test_italian_has_its_own_words() -> None:
    italian = load_filters(FiltersSettings(language="italian"))
    task = "Scrivi una nota sulle api."
    assert find_output_fault("Mi dispiace, ma non posso aiutarti.", task, "", "", False, italian) == "refusal"
    assert find_output_fault("Certo! Ecco la nota.", task, "", "", False, italian) == "announcement"
    assert text_or_nothing("Nessun input richiesto.", italian) == ""
    assert find_input_fault("[Inserisci il testo qui]", task, italian) == "placeholder"
    assert find_instruction_fault("Disegna un gatto che dorme.", italian) == "needs more than text"
    assert clean_instruction("Istruzione 2: Descrivi il mare.", italian) == "Descrivi il mare."


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"refusals": ("(",)}, r"filters.refusals is .*a list of regular expressions: '\('"),
        ({"nothing": ("(?i)x",)}, "filters.nothing is .*a list of regular expressions"),
        ({"skip": ("spelling",)}, "filters.skip is 'spelling'; it should be 'announcement', "),
    ],
)
def test_slips_in_the_recipe_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        FiltersSettings(**values)


@pytest.mark.skipif(not CASES.is_dir(), reason="the recorded cases are not here")
@pytest.mark.parametrize("name", ["13-placeholder-outputs/outputs", "14-refusals-as-text/outputs"])
def test_recorded_outputs_are_dropped(name: str) -> None:
    for output in json.loads((CASES / f"{name}.json").read_text(encoding="utf-8")):
        assert output_fault(output), output


@pytest.mark.skipif(not CASES.is_dir(), reason="the recorded cases are not here")
def test_recorded_inputs_become_nothing_or_are_dropped() -> None:
    for text in json.loads((CASES / "16-words-for-no-input" / "inputs.json").read_text(encoding="utf-8")):
        kept = text_or_nothing(text)
        assert not kept or find_input_fault(kept, "Summarise the passage in one line.", FILTERS), text
