# In a file of its own: Packer before 1.7 has the Amazon builder built in and does not know this
# block's ways; it validates s3-migration.pkr.hcl alone.
packer {
  required_version = ">= 1.7.0"
  required_plugins {
    amazon = {
      version = ">= 1.3.0"
      source  = "github.com/hashicorp/amazon"
    }
  }
}
