"""What every room uses: files, assets, artifacts, devices and processes, progress."""
