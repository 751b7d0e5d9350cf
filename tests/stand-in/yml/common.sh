# In a real bundle this holds what the scripts beside it share. The stand-in's share nothing.
