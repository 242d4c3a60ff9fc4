"""Answers that break verifiers, and the verdict on each: add a line to add a case.

The answer stands in a box; `RAW` holds whole responses. `timeout` is right where sympy computes for ever.
"""

DIGITS = "9" * 1_000_000

POISON: dict[str, list[tuple[str, str, str]]] = {
    "numbers too large to compute": [
        ("10^{10^{10}}", "5", "wrong"),
        ("5", "10^{10^{10}}", "wrong"),
        ("1000000000!", "5", "wrong"),
        ("9^{9^{9^{9}}}", "5", "timeout"),
        ("\\sin(10^{10^{10}})", "5", "timeout"),
        ("10^{10^{10}}", "10^{10^{10}}", "correct"),
    ],
    "texts too long or too deep to parse": [
        (DIGITS, "5", "unparsed"),
        (DIGITS, DIGITS, "correct"),
        ("9" * 1_900, "5", "wrong"),
        ("{" * 10_000 + "5" + "}" * 10_000, "5", "unparsed"),
        ("{" * 900 + "5" + "}" * 900, "5", "timeout"),
        ("\\frac{1}{1+" * 300 + "x" + "}" * 300, "5", "unparsed"),
    ],
    "what is no number": [
        ("\\frac{1}{0}", "5", "wrong"),
        ("5", "\\frac{1}{0}", "error"),
        ("\\cfrac{1}{1+\\cfrac{1}{1+\\cfrac{1}{1+\\cdots}}}", "\\frac{\\sqrt{5}-1}{2}", "unparsed"),
        ("0.\\overline{3}", "\\frac{1}{3}", "correct"),
        ("0.\\overline{3}", "0", "wrong"),
        ("5 \\unknown 6", "5", "unparsed"),
        ("\\text{}", "5", "unparsed"),
        ("$", "$", "unparsed"),
        ("__import__('os').abort()", "5", "unparsed"),
    ],
    "characters that do not show": [
        ("5\x00", "5", "correct"),
        ("\u200b", "5", "unparsed"),
        ("１２", "12", "correct"),
        ("٤٢", "42", "correct"),
        ("\u202e21\u202c", "21", "correct"),
        ("\u202e21\u202c", "12", "wrong"),
    ],
    "percent: of a hundred, or the name of the unit": [
        ("50\\%", "\\frac{1}{2}", "correct"),
        ("50\\%", "0.5", "correct"),
        ("50\\%", "50", "correct"),
        ("50", "50\\%", "correct"),
        ("0.5", "50\\%", "correct"),
        ("50\\text{ percent}", "50%", "correct"),
        ("5\\%", "0.5", "wrong"),
        ("5\\%", "50\\%", "wrong"),
    ],
    "equations: the ground truth says what was asked for": [
        ("x=5", "5", "correct"),
        ("5", "x=5", "correct"),
        ("5", "x+y=5", "wrong"),
        ("y=5", "x=5", "wrong"),
        ("x=5", "6", "wrong"),
        ("y-2x=3", "y=2x+3", "correct"),
        ("2x+3", "y=2x+3", "wrong"),
    ],
    "intervals": [
        ("[1,2]", "[1, 2]", "correct"),
        ("(1,2)", "[1,2]", "wrong"),
        ("[1,2)", "[1,2]", "wrong"),
        ("1<x<2", "(1,2)", "correct"),
        ("x<2", "(-\\infty,2)", "correct"),
    ],
    "tuples, lists, sets": [
        ("(1,2)", "(2,1)", "wrong"),
        ("(1,2)", "(1,3)", "wrong"),
        ("2,1", "1,2", "correct"),
        ("\\{2,1\\}", "\\{1,2\\}", "correct"),
        ("1,2", "12", "wrong"),
        ("5,6", "5", "wrong"),
    ],
    "units: one may be missing, two must not differ": [
        ("10\\text{ cm}", "10", "correct"),
        ("10", "10\\text{ cm}", "correct"),
        ("10\\text{ centimeters}", "10\\text{ cm}", "correct"),
        ("10\\text{ m}", "10\\text{ cm}", "wrong"),
        ("10 m", "10 km", "wrong"),
        ("11:30\\text{ a.m.}", "11:30\\text{ p.m.}", "wrong"),
        ("90^\\circ", "90", "correct"),
        ("\\$1,200", "1200", "correct"),
    ],
    "number bases": [
        ("12_5", "12_5", "correct"),
        ("12_{5}", "12_5", "correct"),
        ("12_5", "12_3", "wrong"),
    ],
    "text": [
        ("\\text{Evelyn}", "Evelyn", "correct"),
        ("\\text{evelyn}", "\\text{Evelyn}", "correct"),
        ("Tom", "\\text{Evelyn}", "wrong"),
        ("\\text{yes}", "\\text{no}", "wrong"),
        ("\\text{June 20}", "\\text{June 21}", "wrong"),
    ],
    "multiple choice": [
        ("\\text{(C)}", "C", "correct"),
        ("\\textbf{(C)}", "C", "correct"),
        ("C", "\\text{C}", "correct"),
        ("(B)", "C", "wrong"),
        ("C", "5", "wrong"),
    ],
    "mixed numbers and spaces": [
        ("3 1/2", "\\frac{7}{2}", "correct"),
        ("-3 1/2", "-\\frac{7}{2}", "correct"),
        ("3 1/2", "31/2", "wrong"),
        ("3 1/2", "\\frac{3}{2}", "wrong"),
        ("1 000", "1000", "correct"),
    ],
    "very small and very large numbers": [
        ("1.6 \\times 10^{-19}", "1.6e-19", "correct"),
        ("1.6 \\times 10^{-19}", "2.5 \\times 10^{-19}", "wrong"),
        ("10^{-20}", "0", "wrong"),
        ("870000000", "8.7e8", "correct"),
        ("870000001", "8.7e8", "wrong"),
        ("-\\frac{1}{3}", "-1./3", "correct"),
    ],
    "decimals": [
        ("0.333333", "\\frac{1}{3}", "correct"),
        ("0.333", "\\frac{1}{3}", "wrong"),
        ("3.14", "\\pi", "wrong"),
    ],
}

RAW: list[tuple[str, str, str]] = [
    ("".join(f"\\boxed{{{i}}} " for i in range(200)), "199", "correct"),
    ("".join(f"\\boxed{{{i}}} " for i in range(200)), "198", "wrong"),
    ("\\boxed{5", "5", "no_answer"),
    ("\\boxed{4} and then \\boxed{5", "4", "no_answer"),
    ("\\boxed{}", "5", "no_answer"),
    ("\\boxed{\x00", "5", "no_answer"),
    ("\\boxed{" * 10_000, "5", "no_answer"),
    ("}" * 10_000 + "\\boxed{5}", "5", "correct"),
    ("<think>" * 10_000 + "\\boxed{5}", "5", "no_answer"),
    ("#### " * 10_000 + "5", "5", "unparsed"),
    ("", "5", "no_answer"),
    ("\\boxed{5}", "", "unparsed"),
]

TABLE = [
    (kind, f"\\boxed{{{answer}}}", truth, reason)
    for kind, cases in POISON.items()
    for answer, truth, reason in cases
] + [("whole responses", *case) for case in RAW]
