"""What every room uses: files, downloads, artifacts, devices, processes, progress."""
