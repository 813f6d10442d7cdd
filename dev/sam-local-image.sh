#!/usr/bin/env bash
# For `sam local invoke` where Lambda's own image cannot be pulled: installs Docker from Debian's packages, starts it, and makes a
# stand-in for that image of Debian, a CPython 3.13 and AWS's runtime client. (What answers inside, aws-lambda-rie, is the SAM CLI's.)
#
# usage: dev/sam-local-image.sh PREFIX_OF_A_CPYTHON_3.13     two minutes, once a machine; as root, on Debian, x86_64
# then:  .venv/bin/pytest tests/e2e/test_local_invoke.py     or sam local invoke … --skip-pull-image
set -euo pipefail
prefix=${1:?usage: dev/sam-local-image.sh PREFIX_OF_A_CPYTHON_3.13}
tag=public.ecr.aws/lambda/python:3.13-x86_64
work=${SAM_LOCAL_WORK:-/var/tmp/sam-local-image}
libraries=ca-certificates,libssl3,libffi8,libsqlite3-0,zlib1g,libbz2-1.0,liblzma5,libreadline8,libncursesw6

command -v dockerd >/dev/null && command -v debootstrap >/dev/null ||
  { apt-get update -qq; apt-get install -y -qq docker.io debootstrap >/dev/null; }
mkdir -p "$work"
if ! docker info >/dev/null 2>&1; then
  setsid dockerd --storage-driver=vfs --data-root "$work/root" --exec-root "$work/exec" >"$work/dockerd.log" 2>&1 &
  for _ in $(seq 30); do docker info >/dev/null 2>&1 && break; sleep 1; done
fi
docker image inspect "$tag" >/dev/null 2>&1 && { echo "ready: $tag"; exit 0; }

rootfs=$work/rootfs
[ -d "$rootfs/usr" ] || debootstrap --variant=minbase --include="$libraries" bookworm "$rootfs" >"$work/debootstrap.log"
cp -a "$prefix" "$rootfs/var/lang"
mkdir -p "$rootfs/var/task" "$rootfs/var/runtime" "$rootfs/var/rapid" "$rootfs/opt"
"$prefix/bin/python3.13" -m pip install -q awslambdaric boto3 --target "$rootfs/var/runtime"
cat >"$rootfs/var/runtime/bootstrap" <<'B'
#!/bin/sh
task=${LAMBDA_TASK_ROOT:-/var/task}
export PYTHONPATH="$task:/opt/python:/opt/python/lib/python3.13/site-packages:/var/runtime${PYTHONPATH:+:$PYTHONPATH}"
cd "$task" && exec /var/lang/bin/python3.13 -m awslambdaric "${_HANDLER:-$1}"
B
chmod +x "$rootfs/var/runtime/bootstrap"
tar -C "$rootfs" -c . | docker import \
  --change 'ENV LD_LIBRARY_PATH=/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/opt/lib' \
  --change 'ENV PATH=/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin' \
  --change 'ENV LAMBDA_TASK_ROOT=/var/task' --change 'ENV LAMBDA_RUNTIME_DIR=/var/runtime' \
  --change 'WORKDIR /var/task' --change 'ENTRYPOINT ["/var/runtime/bootstrap"]' - "$tag" >/dev/null
echo "ready: $tag"
