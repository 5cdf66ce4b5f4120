"""torch: ``BCELoss`` clamps the logarithms at -100, and divides its gradient by at least 1e-12. Needs torch and
NumPy.

Run with the word ``compile`` to see that ``torch.compile`` divides by at least 1e-12 itself, where eager torch has it
rounded to float32, also for float64: their gradients are 4e-9 apart. It needs a C++ compiler.
"""

import sys

import torch


def bce(a, y):
    """Binary cross-entropy as users call it."""
    return torch.nn.functional.binary_cross_entropy(a, y)


if "compile" in sys.argv:
    bce = torch.compile(bce)
for p, y in ((0.0, 1.0), (1.0, 1.0), (1e-20, 1.0)):
    a = torch.tensor([p], dtype=torch.float64, requires_grad=True)
    loss = bce(a, torch.tensor([y], dtype=torch.float64))
    loss.backward()
    print(f"p = {p:g}, y = {y:g}: loss {loss.item():g}, gradient {a.grad.item():.12g}")
print("by the formula -y log p - (1-y) log(1-p): inf and -inf; nan and nan; 46.0517 and -1e+20")
