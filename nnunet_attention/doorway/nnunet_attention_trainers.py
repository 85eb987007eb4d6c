"""Shows nnU-Net's trainer search the trainers, from where they are installed.

nnU-Net imports this file by its bare name and drops it again, so no class may be defined here.
"""

import nnunet_attention.trainers as trainers

globals().update({name: getattr(trainers, name) for name in trainers.__all__})
