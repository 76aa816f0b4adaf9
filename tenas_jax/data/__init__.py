"""Images.

A data set's name, a file or a folder comes in; normalised batches and patches go out, drawn by a key. What a file holds is
checked, and never run.
"""

from tenas_jax.data.batches import image_batch as image_batch
from tenas_jax.data.batches import patch_batch as patch_batch
from tenas_jax.data.opening import DATASETS as DATASETS
from tenas_jax.data.opening import open_images as open_images
from tenas_jax.data.source import ImageSource as ImageSource
