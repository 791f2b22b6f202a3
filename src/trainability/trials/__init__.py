"""The seed's trials: a book of thirty-odd runs as data, their replay at three scales, and the verdict on each."""
