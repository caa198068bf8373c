import torch

# One thread: small tensors gain nothing from two, and the numbers do not depend on the machine's cores.
torch.set_num_threads(1)
