# Which signed messages each library accepts: verify.py standardwebhooks|svix, [{secret, headers, body}] on stdin.
import json
import sys

if sys.argv[1] == "svix":
    from svix.webhooks import Webhook, WebhookVerificationError
else:
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def accepts(message: dict) -> bool:
    try:
        Webhook(message["secret"]).verify(message["body"], message["headers"])
        return True
    except WebhookVerificationError:
        return False


print(json.dumps([accepts(message) for message in json.load(sys.stdin)]))
