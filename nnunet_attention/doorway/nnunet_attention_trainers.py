"""Exposes the installed trainers to nnU-Net's trainer search.

nnU-Net imports this file by its bare name and discards it again, so no class may be defined here.
"""

import nnunet_attention.trainers as trainers

globals().update({name: getattr(trainers, name) for name in trainers.__all__})
