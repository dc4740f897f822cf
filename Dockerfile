# esrgan-lightning for a processor, or for NVIDIA's GPUs:
#   docker build -t esrgan .
#   docker build -t esrgan:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
#   docker run --rm -v "$PWD:/work" esrgan upscale photo.jpg
#   docker run --rm --gpus all --shm-size 2g -v "$PWD:/work" --entrypoint esrgan-train esrgan:cuda stage=psnr
FROM python:3.12-slim
# The wheels of this index bring their own CUDA; the base image needs none.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN pip install torch torchvision --index-url "$TORCH_INDEX"
WORKDIR /opt/esrgan-lightning
COPY pyproject.toml setup.py README.md LICENSE ./
COPY src src
COPY conf conf
RUN pip install ".[demo,tensorboard,ui]"
RUN esrgan models
WORKDIR /work
ENTRYPOINT ["esrgan"]
CMD ["--help"]
