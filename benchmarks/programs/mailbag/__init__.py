"""Programs as they come by mail: what people write who ask why a training fails."""
