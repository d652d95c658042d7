"""The parts of networks, torch only: types, recurrence, cells, encoders, contexts, bridges, heads, decoder and
losses."""
