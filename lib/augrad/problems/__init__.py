"""Problems whose true gradients are known: what estimators and hypergradient methods are proven and compared on.

A new estimator is held against `joint_space`, a new hypergradient method against `training`.
"""
