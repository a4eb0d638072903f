"""Terms that are added to what the policy minimises, whatever the objective: functions of its parameters alone.

A new one is a file with one callable frozen dataclass that satisfies `Regularizer`; the configuration names it in
`search.regularizers`.
"""
