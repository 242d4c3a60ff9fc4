"""Divergences of student and teacher over the whole vocabulary, exact, from hidden states; plain torch.

Read in this order: `settings` (what is measured), `row_loss` (what a row's loss is made of), `kernel` (the
function and its gradient), `blocks` and `slices` (the order of the work), `sides`, `whole` and `support` (the
mathematics), `products` (the head), `shards` (a vocabulary that is divided among ranks).
"""

from verl_egrsd.divergences.call import Rows
from verl_egrsd.divergences.kernel import divergence
from verl_egrsd.divergences.row_loss import RowLoss
from verl_egrsd.divergences.settings import Divergence
from verl_egrsd.divergences.shards import Shard

__all__ = ["Divergence", "RowLoss", "Rows", "Shard", "divergence"]
