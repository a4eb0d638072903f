"""Hypergradient methods: each supplies the one vector u that links the two levels.

With u, the derivative of the validation loss through the classifier's training is the policy gradient of
E_b mean_i s_i(b_i), s_i = <u, grad_w l_i(w; T(x_i; b_i))>, u held fixed.
"""
