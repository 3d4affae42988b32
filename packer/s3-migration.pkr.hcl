# An image of Amazon Linux 2023 with the program, its units, the kernel's settings and the CloudWatch
# agent. It holds no secret and no name of a cluster: those come with the user data of
# cloudformation/cluster.yaml. See README.md beside this file.

variable "architecture" {
  type        = string
  description = "The image's architecture: x86_64 or arm64."
  default     = "arm64"
}

variable "archive" {
  type        = string
  description = "The release that build-release.sh made for this architecture; its .sha256 lies beside it."
}

variable "region" {
  type        = string
  description = "Where the image is made, such as us-east-1 or cn-northwest-1."
}

variable "image_owner" {
  type        = string
  description = "Whose Amazon Linux 2023: amazon, which is right in every partition."
  default     = "amazon"
}

variable "subnet_id" {
  type        = string
  description = "A subnet with a way to the internet; empty: the default VPC's."
  default     = ""
}

variable "ssh_interface" {
  type        = string
  description = "How the machine that is made into the image is reached: public_ip, or session_manager with instance_profile (needs AWS's session manager plugin here, and opens no port)."
  default     = "public_ip"
}

variable "instance_profile" {
  type        = string
  description = "The instance profile for session_manager, which allows Session Manager and nothing else; empty: none."
  default     = ""
}

variable "kms_key_id" {
  type        = string
  description = "The KMS key that encrypts the image; empty: the account's own for EBS."
  default     = ""
}

locals {
  timestamp = regex_replace(timestamp(), "[- TZ:]", "")
  types     = { x86_64 = "c6i.large", arm64 = "c7g.large" }
}

source "amazon-ebs" "al2023" {
  region               = var.region
  subnet_id            = var.subnet_id
  instance_type        = local.types[var.architecture]
  iam_instance_profile = var.instance_profile

  source_ami_filter {
    owners      = [var.image_owner]
    most_recent = true
    filters = {
      name                = "al2023-ami-2023.*-kernel-*"
      architecture        = var.architecture
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # A key of this build alone: it is taken away again below, and the image takes none at its start.
  ssh_username              = "ec2-user"
  ssh_interface             = var.ssh_interface
  ssh_clear_authorized_keys = true

  # IMDSv2: both this machine and whatever is started from the image.
  # >>> not known to Packer 1.6
  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  # <<<

  ami_name        = "s3-migration-${var.architecture}-${local.timestamp}"
  ami_description = "Amazon Linux 2023 with s3-migration"
  encrypt_boot    = true
  kms_key_id      = var.kms_key_id

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 8
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  tags = {
    Name         = "s3-migration"
    Architecture = var.architecture
    Base         = "{{ .SourceAMIName }}"
  }
}

build {
  sources = ["source.amazon-ebs.al2023"]

  provisioner "file" {
    source      = var.archive
    destination = "/tmp/"
  }

  provisioner "file" {
    source      = "${var.archive}.sha256"
    destination = "/tmp/"
  }

  provisioner "shell" {
    inline = [
      "set -eu",
      "sudo cloud-init status --wait || true",
      "sudo dnf upgrade -y -q",
      "cd /tmp",
      "sha256sum --check --strict s3-migration-*.tar.gz.sha256",
      "mkdir release",
      "tar -xzf s3-migration-*.tar.gz -C release",
      "sudo bash release/install.sh",
    ]
  }

  # What was installed is what a cluster needs, or there is no image.
  provisioner "shell" {
    inline = [
      "set -eu",
      "/usr/local/bin/s3-migration --version",
      "systemd-analyze verify s3-migration-worker.service s3-migration-jobsender.service s3-migration-jobsender.timer",
      "test \"$(sysctl -n net.ipv4.tcp_congestion_control)\" = bbr",
      "! systemctl is-enabled --quiet s3-migration-worker.service",
      "systemctl is-enabled --quiet amazon-ssm-agent.service",
      "test -x /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl",
    ]
  }

  # Nothing of this one machine goes into the image.
  provisioner "shell" {
    inline = [
      "set -eu",
      "rm -rf /tmp/release /tmp/s3-migration-*",
      "sudo dnf clean all -q",
      "sudo rm -f /etc/ssh/ssh_host_*",
      "sudo journalctl --quiet --rotate --vacuum-time=1s",
      "sudo cloud-init clean --logs --machine-id",
      "sudo rm -f ~root/.bash_history ~ec2-user/.bash_history",
    ]
  }
}
