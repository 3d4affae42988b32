#!/usr/bin/env bash
# Shows on AWS itself what no test on loopback can: deploys the functions' template under names of its own,
# moves some objects, and prints a line of `pass` or `fail` for each thing. It takes about half an hour and some
# cents, and removes what it has made, also after Ctrl-C. The exit status is the number of failures.
#
#   OWN=profile OTHER=profile REGION=us-east-1 OTHER_REGION=cn-northwest-1 \
#   ARN=arn:aws OTHER_ARN=arn:aws-cn examples/aws/prove.sh
#
# The values are those of docs/deploy.md; both profiles may be one account's. It needs the AWS CLI (version 2),
# and dist/s3-migration-lambda-aarch64.zip (commands 1 and 2 of docs/serverless.md). If both regions are the same,
# the fixed address cannot be shown, since S3 of the own region is reached without it.
set -uo pipefail
: "${OWN:?}" "${OTHER:?}" "${REGION:?}" "${OTHER_REGION:?}" "${ARN:?}" "${OTHER_ARN:?}"
package=dist/s3-migration-lambda-aarch64.zip
[[ -f $package ]] || { echo "there is no $package: commands 1 and 2 of docs/serverless.md make it" >&2; exit 2; }
export AWS_PAGER='' AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=10

name=s3-migration-proof-$(date +%s)
failures=0
folder=$(mktemp -d)
own() { aws --profile "$OWN" --region "$REGION" --output text "$@"; }
other() { aws --profile "$OTHER" --region "$OTHER_REGION" --output text "$@"; }
output() { own cloudformation describe-stacks --stack-name "$name" --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue"; }
resource() { own cloudformation describe-stack-resource --stack-name "$name" --logical-resource-id "$1" --query StackResourceDetail.PhysicalResourceId; }

# judge TEXT COMMAND...: pass if the command succeeds.
judge() {
  local what=$1
  shift
  if "$@"; then echo "pass  $what"; else echo "fail  $what"; failures=$((failures + 1)); fi
}
# need COMMAND...: without it there is nothing to judge.
need() { "$@" > /dev/null || { echo "fail  $1 $2 $3"; failures=$((failures + 1)); exit; }; }
# within SECONDS COMMAND...: whether it succeeds before they are over.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 10
  done
}

clean() {
  trap - EXIT INT TERM
  echo "removing what was made"
  table=$(resource Table) 2> /dev/null
  own cloudformation delete-stack --stack-name "$name" && own cloudformation wait stack-delete-complete --stack-name "$name"
  [[ -n ${table:-} ]] && own dynamodb delete-table --table-name "$table" > /dev/null
  for kind in worker jobsender; do
    own logs delete-log-group --log-group-name "/s3-migration/$name/$kind" 2> /dev/null
  done
  own ssm delete-parameter --name "$name" > /dev/null
  own s3 rb --force "s3://$name-source" > /dev/null
  own s3 rb --force "s3://$name-release" > /dev/null
  other s3 rb --force "s3://$name-destination" > /dev/null
  for key in $(other iam list-access-keys --user-name "$name" --query 'AccessKeyMetadata[].AccessKeyId'); do
    other iam delete-access-key --user-name "$name" --access-key-id "$key"
  done
  other iam delete-user-policy --user-name "$name" --policy-name "$name"
  other iam delete-user --user-name "$name"
  rm -rf "$folder"
  exit "$failures"
}
trap clean EXIT INT TERM

# allow CONDITION: what the other account's user may do.
allow() {
  other iam put-user-policy --user-name "$name" --policy-name "$name" --policy-document '{
    "Version": "2012-10-17", "Statement": [
    {"Sid": "Buckets", "Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
     "Resource": "'"$OTHER_ARN:s3:::$name-destination"'"'"$1"'},
    {"Sid": "Objects", "Effect": "Allow", "Action": ["s3:AbortMultipartUpload", "s3:GetObject",
     "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectTagging"],
     "Resource": "'"$OTHER_ARN:s3:::$name-destination/*"'"'"$1"'}]}'
}

deploy() {
  aws --profile "$OWN" --region "$REGION" cloudformation deploy --stack-name "$name" \
    --template-file cloudformation/serverless.yaml --s3-bucket "$name-release" --capabilities CAPABILITY_IAM \
    --parameter-overrides JobType=PUT "BucketArns=$ARN:s3:::$name-source" "ReleaseBucket=$name-release" \
    "CredentialsParameter=$name" "DashboardName=$name" "JobsenderSchedule=rate(5 minutes)" \
    MaximumConcurrency=20 BatchSize=10 \
    'BucketList=[{"src_bucket":"'"$name-source"'","src_prefix":"","des_bucket":"'"$name-destination"'","des_prefix":""}]' "$@" > "$folder/deploy" 2>&1 || {
    cat "$folder/deploy"
    return 1
  }
}

there() { other s3api head-object --bucket "$name-destination" --key "$1" > /dev/null 2>&1; }
count() { other s3api list-objects-v2 --bucket "$name-destination" --prefix "$1" --query 'Contents[].Key' | wc -w; }
all_there() { [[ $(count "$1") -ge $2 ]]; }
waiting() {
  own sqs get-queue-attributes --queue-url "$(output QueueUrl)" \
    --attribute-names ApproximateNumberOfMessages ApproximateNumberOfMessagesNotVisible \
    --query 'sum(Attributes.[to_number(ApproximateNumberOfMessages), to_number(ApproximateNumberOfMessagesNotVisible)])'
}
left_over() { [[ $(waiting) == "$1".0 || $(waiting) == "$1" ]]; }
counted() {
  own cloudwatch get-metric-statistics --namespace s3_migrate --metric-name "$1" --statistics Sum --period 3600 \
    --start-time "$(date -u -d '-1 hour' +%FT%TZ)" --end-time "$(date -u -d '+5 minutes' +%FT%TZ)" \
    --query 'sum(Datapoints[].Sum)'
}
has_counted() { awk -v n="$(counted "$1")" -v least="$2" 'BEGIN { exit !(n >= least) }'; }
checked_by_alarm() {
  own cloudwatch describe-alarm-history --alarm-name "$(resource BatchDone)" --history-item-type Action \
    --query 'AlarmHistoryItems[].HistorySummary' | grep -qi 'lambda'
}
address_taken_over() {
  local now
  now=$(own ec2 describe-addresses --public-ips "$address" --query 'Addresses[0].InstanceId')
  [[ $now == i-* && $now != "$before" ]]
}
put() { own s3 cp --only-show-errors "$folder/$1" "s3://$name-source/$2"; }

echo "making buckets, a user and its key"
need own s3 mb "s3://$name-release"
need own s3 mb "s3://$name-source"
need other s3 mb "s3://$name-destination"
need own s3 cp --only-show-errors "$package" "s3://$name-release/"
need other iam create-user --user-name "$name"
need allow '' the destination
key() {
  other iam create-access-key --user-name "$name" --output json --query '{
    "aws_access_key_id": AccessKey.AccessKeyId, "aws_secret_access_key": AccessKey.SecretAccessKey,
    "region": `"'"$OTHER_REGION"'"`}' |
    own ssm put-parameter --type SecureString --name "$name" --value file:///dev/stdin
}
need key of "$name"

judge "the functions' template deploys" deploy

head -c 1024 /dev/urandom > "$folder/small"
head -c 67108864 /dev/urandom > "$folder/large"
for n in $(seq 20); do put small "first/small-$n"; done
for n in $(seq 4); do put large "first/large-$n"; done
judge "the timer starts the jobsender, and its jobs call the worker function" within 900 all_there first/ 24
judge "nothing is left in the queue" within 300 left_over 0
judge "the closing comparison is started by the alarm" within 1200 checked_by_alarm

# One message of a batch is no job: only that one comes again.
own sqs send-message-batch --queue-url "$(output QueueUrl)" --entries '[
  {"Id": "1", "MessageBody": "this is no job"},
  {"Id": "2", "MessageBody": "{\"Src_bucket\":\"'"$name-source"'\",\"Src_key\":\"first/small-1\",\"Des_bucket\":\"'"$name-destination"'\",\"Des_key\":\"again/1\",\"Size\":1024,\"versionId\":\"null\"}"}]' > /dev/null
judge "of a batch, what is done is gone and what is not comes again" within 300 there again/1
judge "and only that" within 300 left_over 1

judge "the log's lines become the metric Uploading-bytes" within 600 has_counted Uploading-bytes 268435456
judge "the log's lines become the metric Complete-bytes" within 60 has_counted Completed-bytes 268435456
cold=$(own logs filter-log-events --log-group-name "/s3-migration/$name/worker" --filter-pattern '"Init Duration"' \
  --query 'events[].message' | grep -o 'Init Duration: [0-9.]*' | awk '{ print $3 }' | sort -n | tail -1)
judge "the slowest cold start, ${cold:-unknown} ms, is below half a second" awk -v ms="${cold:-99999}" 'BEGIN { exit !(ms < 500) }'

judge "with a NAT instance the stack deploys as well" deploy Network=nat
address=$(output FixedAddress)
if [[ $REGION == "$OTHER_REGION" ]]; then
  echo "skip  the fixed address: both buckets are in one region"
else
  # From now on the other account takes nothing from any other address.
  allow ', "Condition": {"IpAddress": {"aws:SourceIp": "'"$address"'"}}'
  put large "second/large"
  judge "the functions come from the fixed address, $address" within 900 there second/large
  before=$(own ec2 describe-addresses --public-ips "$address" --query 'Addresses[0].InstanceId')
  own autoscaling terminate-instance-in-auto-scaling-group --instance-id "$before" --no-should-decrement-desired-capacity > /dev/null
  judge "another NAT instance takes the address over" within 600 address_taken_over
  put large "third/large"
  judge "and the functions go on through it" within 900 there third/large
fi
echo "$failures failed"
