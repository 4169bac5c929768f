"""Is the data good? Measurements, a judge, people's ratings, and what the three say together.

The four questions and the figures to set beside are those of Auto-Instruct (Mansutti), which takes three of the
questions from Self-Instruct (arXiv:2212.10560, section 4.4).
"""
