# All of kg2clip in one image, from the same pinned packages as `make`. For sites without conda.
#
#   docker build -t kg2clip .
#   docker run --rm -it --gpus all --ipc=host --user "$(id -u):$(id -g)" -v "$PWD":/work kg2clip snakemake --profile local
#
# Leave out --gpus all where there is no GPU. --ipc=host: the processes that decode pictures hand them over in shared memory,
# of which Docker gives 64 MB.
#
# With Apptainer, from the image that Docker built:
#
#   apptainer build kg2clip.sif docker-daemon://kg2clip:latest
#   apptainer exec --nv kg2clip.sif snakemake --profile local
#
# Start it in a clone: code, config and results stay there, the image holds packages only. It serves one machine, or one
# job of a cluster; sending jobs to Slurm needs Slurm's own programs, which are not in it.
#
# Not tried: the machines that test kg2clip can't build images. A test holds it against the lock and the Makefile only.
FROM docker.io/library/python:3.11-slim-bookworm

# git: the provenance names the version of the code. procps: Snakemake's benchmarks.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make procps \
    && rm -rf /var/lib/apt/lists/*

COPY envs/pip-lock.txt /tmp/pip-lock.txt
RUN pip install --no-cache-dir --no-deps --requirement /tmp/pip-lock.txt

# As the Makefile sets them: nothing is asked of the internet but what the workflow asks itself. Any user may run it.
ENV HF_HUB_OFFLINE=1 NO_ALBUMENTATIONS_UPDATE=1 WANDB_MODE=disabled PYTHONUNBUFFERED=1 HOME=/tmp

WORKDIR /work
CMD ["snakemake", "--profile", "local", "-n", "--quiet", "rules"]
