"""Files of arrays, whatever the arrays mean: HDF5, NumPy's and MATLAB's, and what lies in any of them."""
