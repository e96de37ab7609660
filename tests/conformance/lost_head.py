"""A golden whose language head is not the one in its weights file, and how it is still checked to the last number.

`train_lora` was computed before the generator set a few rows of `lm_head` (padding, end, `[SEG]` and image tokens) for its
`evaluate` cases; the file holds the rows set. The rows as they were cannot be read anywhere, but everything the case does hold is
linear in them: its logits, and, with the probabilities those logits give, all its gradients. So they are solved for, 320
unknowns from some twenty thousand numbers, and then *every* logit, loss and gradient has to fit them.
A wrong hidden state, adapter
or gradient of ours leaves no solution. Cases whose logits agree with their file are not touched.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seglm.model.segmenter import Segmenter
from seglm.utils.batch import Batch

MOST_ROWS = 8  # more rows than this are no generator's doing but an error of ours
CONTRADICTS = 1e-3


def contradicted_rows(model: Segmenter, batch: Batch, logits_tail: Tensor) -> list[int]:
    """Rows of the head whose logits differ from the case's at any real token. batch: unshared rows."""
    states, wanted, real = _tail(model, batch, logits_tail)
    with torch.no_grad():
        off = (model.backbone.head(states) - wanted)[real].abs().amax(0)
    return (off > CONTRADICTS).nonzero().flatten().tolist()


def restore_head(model: Segmenter, batch: Batch, logits_tail: Tensor, gradients: dict[str, Tensor]) -> None:
    """Writes the rows that the case was computed with into the model's head, by least squares.

    gradients: the case's own, under module names. Raises AssertionError if too many rows differ.
    """
    rows = contradicted_rows(model, batch, logits_tail)
    assert len(rows) <= MOST_ROWS, (
        f"{len(rows)} rows of lm_head contradict the logits: hidden states are wrong"
    )
    if not rows:
        return
    states, wanted, real = _tail(model, batch, logits_tail)
    head = model.backbone.llm.lm_head.weight
    from_logits = (states.detach()[real], wanted[real][:, rows])
    slope = _slope(model, batch, logits_tail)
    below = [
        p
        for n, p in model.named_parameters()
        if n in gradients and n.startswith("backbone.") and "lm_head" not in n
    ]
    names = [
        n
        for n, _ in model.named_parameters()
        if n in gradients and n.startswith("backbone.") and "lm_head" not in n
    ]
    flat = model.backbone.hidden(batch).flatten(0, 1)
    known = head.detach().clone()
    known[rows] = 0
    rest = _masks_loss(model, batch, flat) + (flat[batch.labelled_at] * (slope @ known)).sum()
    left = torch.cat([gradients[name].flatten() for name in names]) - _gradient(rest, below)
    columns = [
        _gradient((flat[batch.labelled_at, axis] * slope[:, row]).sum(), below)
        for row in rows
        for axis in range(head.shape[1])
    ]
    system, right = _joined(torch.stack(columns, 1), left, *from_logits, count=len(rows))
    solved = torch.linalg.lstsq(system.double(), right.double()).solution
    with torch.no_grad():
        head[rows] = solved.float().view(len(rows), -1)


def _tail(model: Segmenter, batch: Batch, logits_tail: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    width = logits_tail.shape[1]
    return model.backbone.hidden(batch)[:, -width:], logits_tail, (batch.group >= 0)[:, -width:]


def _slope(model: Segmenter, batch: Batch, logits_tail: Tensor) -> Tensor:
    """d(cross entropy) / d(logits) at the labelled places, from the case's own logits: [K, V]."""
    columns = batch.ids.shape[1]
    row, column = batch.labelled_at // columns, batch.labelled_at % columns - (columns - logits_tail.shape[1])
    slope = logits_tail[row, column].softmax(-1)
    slope[torch.arange(len(slope)), batch.labels] -= 1
    return slope / len(slope)


def _masks_loss(model: Segmenter, batch: Batch, flat: Tensor) -> Tensor:
    from seglm.model.terms import Predicted

    low = model.draw(model.queries(model.slot_states(flat, batch)), batch, model.features(batch))
    predicted = Predicted(flat[:1], low[:, 0], flat[:1], lambda: model.masks_by_frame(low, batch))
    terms = [term for name, term in model.terms.items() if name != "language"]
    losses = [term.weight * term.total(batch, predicted, model) / term.count(batch) for term in terms]
    return torch.stack(losses).sum()


def _gradient(value: Tensor, parameters: list[torch.nn.Parameter]) -> Tensor:
    grads = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    pieces = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
    return torch.cat([piece.flatten() for piece in pieces])


def _joined(
    columns: Tensor, left: Tensor, states: Tensor, logits: Tensor, *, count: int
) -> tuple[Tensor, Tensor]:
    """Both sets of equations for all unknown rows, row-major."""
    blocks = torch.block_diag(*[states] * count)
    return torch.cat([columns, blocks]), torch.cat([left, logits.T.flatten()])
