"""Which line of an error of TensorFlow, Keras or Python is shown to the one who uploaded the model."""

import pytest

from exporter.convert.reasons import reason

OF_A_SESSION = """Graph execution error:

Detected at node 'files' defined at (most recent call last):
  File "/a/b.py", line 3, in <module>
Node: 'files'
You must feed a value for placeholder tensor 'files'
\t [[{{node files}}]]

Original stack trace for 'files':
"""
OF_A_FUNCTION = """Graph execution error:

Detected at node map/DecodeImage defined at (most recent call last):
  File "/a/b.py", line 3, in <module>

Unknown image file format.
\t [[{{node map/DecodeImage}}]] [Op:__inference_f_12]"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (OF_A_SESSION, "You must feed a value for placeholder tensor 'files'"),
        (OF_A_FUNCTION, "Unknown image file format."),
        ("{{function_node __inference_f_12}} Invalid PNG data\n\t [[{{node f}}]]", "Invalid PNG data"),
        ("Unknown layer: 'Twice'.\n\nDetails …", "Unknown layer: 'Twice'."),
        ("  indented and nothing else", "  indented and nothing else"),
        ("", "ValueError"),
        ("x" * 1000, "x" * 500),
    ],
)
def test_it_is_the_one_that_says_what_is_wrong(text: str, shown: str) -> None:
    assert reason(ValueError(text)) == shown
