"""The names that LTI 1.3 and LTI Advantage give to claims, messages, scopes and media types."""

from __future__ import annotations

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
VERSION = f"{CLAIM}version"
MESSAGE_TYPE = f"{CLAIM}message_type"
DEPLOYMENT_ID = f"{CLAIM}deployment_id"
TARGET_LINK_URI = f"{CLAIM}target_link_uri"
RESOURCE_LINK = f"{CLAIM}resource_link"
CONTEXT = f"{CLAIM}context"
ROLES = f"{CLAIM}roles"
ROLE_SCOPE_MENTOR = f"{CLAIM}role_scope_mentor"
CUSTOM = f"{CLAIM}custom"
LIS = f"{CLAIM}lis"
LAUNCH_PRESENTATION = f"{CLAIM}launch_presentation"
TOOL_PLATFORM = f"{CLAIM}tool_platform"
FOR_USER = f"{CLAIM}for_user"
LTI1P1 = f"{CLAIM}lti1p1"
LEGACY_USER_ID = f"{CLAIM}lti11_legacy_user_id"
#: Moodle's additions, of the same shape as the ``ext_`` parameters of LTI 1.1.
EXT = f"{CLAIM}ext"
BRIGHTSPACE = "http://www.brightspace.com"

AGS_ENDPOINT = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
NRPS_SERVICE = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"

DEEP_LINKING = "https://purl.imsglobal.org/spec/lti-dl/claim/"
DEEP_LINKING_SETTINGS = f"{DEEP_LINKING}deep_linking_settings"
CONTENT_ITEMS = f"{DEEP_LINKING}content_items"

LTI_VERSION = "1.3.0"
RESOURCE_LINK_REQUEST = "LtiResourceLinkRequest"
DEEP_LINKING_REQUEST = "LtiDeepLinkingRequest"
DEEP_LINKING_RESPONSE = "LtiDeepLinkingResponse"
SUBMISSION_REVIEW_REQUEST = "LtiSubmissionReviewRequest"
DATA_PRIVACY_REQUEST = "DataPrivacyLaunchRequest"
SUPPORTED_MESSAGES = (RESOURCE_LINK_REQUEST, DEEP_LINKING_REQUEST, SUBMISSION_REVIEW_REQUEST)

_AGS_SCOPE = "https://purl.imsglobal.org/spec/lti-ags/scope/"
SCOPE_LINE_ITEM = f"{_AGS_SCOPE}lineitem"
SCOPE_LINE_ITEM_READONLY = f"{_AGS_SCOPE}lineitem.readonly"
SCOPE_RESULT_READONLY = f"{_AGS_SCOPE}result.readonly"
SCOPE_SCORE = f"{_AGS_SCOPE}score"
AGS_SCOPES = (SCOPE_LINE_ITEM, SCOPE_LINE_ITEM_READONLY, SCOPE_RESULT_READONLY, SCOPE_SCORE)
SCOPE_MEMBERSHIP = "https://purl.imsglobal.org/spec/lti-nrps/scope/contextmembership.readonly"
SERVICE_SCOPES = (*AGS_SCOPES, SCOPE_MEMBERSHIP)

LINE_ITEM_TYPE = "application/vnd.ims.lis.v2.lineitem+json"
LINE_ITEMS_TYPE = "application/vnd.ims.lis.v2.lineitemcontainer+json"
RESULTS_TYPE = "application/vnd.ims.lis.v2.resultcontainer+json"
SCORE_TYPE = "application/vnd.ims.lis.v1.score+json"
MEMBERSHIPS_TYPE = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"

PLATFORM_CONFIGURATION = "https://purl.imsglobal.org/spec/lti-platform-configuration"
TOOL_CONFIGURATION = "https://purl.imsglobal.org/spec/lti-tool-configuration"
CANVAS = "https://canvas.instructure.com/lti/"
