"""the first journey"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('audit_event',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('actor_role', sa.Enum('resident', 'village_worker', 'township_officer', 'county_administrator', 'supervisor', 'auditor', 'system_administrator', 'partner', 'system', name='role', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=True),
    sa.Column('action', sa.Text(), nullable=False),
    sa.Column('entity', sa.Text(), nullable=False),
    sa.Column('entity_id', sa.Uuid(), nullable=True),
    sa.Column('person_id', sa.Uuid(), nullable=True),
    sa.Column('purpose', sa.Text(), nullable=True),
    sa.Column('request_id', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_event'))
    )
    op.create_index('ix_audit_event_actor_id', 'audit_event', ['actor_id', 'id'], unique=False)
    op.create_index('ix_audit_event_person_id', 'audit_event', ['person_id', 'id'], unique=False)
    op.create_table('category_definition',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('zh', sa.Text(), nullable=False),
    sa.Column('en', sa.Text(), nullable=False),
    sa.Column('holder', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_category_definition'))
    )
    op.create_table('consent_notice',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('purpose', sa.Enum('health_data', 'share_with_hospital', name='purpose', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('title_zh', sa.Text(), nullable=False),
    sa.Column('title_en', sa.Text(), nullable=False),
    sa.Column('body_zh', sa.Text(), nullable=False),
    sa.Column('body_en', sa.Text(), nullable=False),
    sa.Column('content_hash', sa.LargeBinary(), nullable=False),
    sa.Column('published_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('retired_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_consent_notice')),
    sa.UniqueConstraint('purpose', 'version', name=op.f('uq_consent_notice_purpose_version'))
    )
    op.create_index('uq_consent_notice_current', 'consent_notice', ['purpose'], unique=True, postgresql_where=sa.text('retired_at IS NULL'))
    op.create_table('idempotency_key',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=False),
    sa.Column('fingerprint', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_idempotency_key'))
    )
    op.create_table('partner_nonce',
    sa.Column('organization_id', sa.Uuid(), nullable=False),
    sa.Column('message_id', sa.Text(), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('organization_id', 'message_id', 'sent_at', name=op.f('pk_partner_nonce'))
    )
    op.create_index('ix_partner_nonce_sent_at', 'partner_nonce', ['sent_at'], unique=False)
    op.create_table('region',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('level', sa.BigInteger(), nullable=False),
    sa.Column('parent_code', sa.Text(), nullable=True),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('valid_from', sa.Date(), nullable=False),
    sa.Column('valid_to', sa.Date(), nullable=True),
    sa.Column('source', sa.Text(), nullable=False),
    sa.CheckConstraint("code ~ '^[0-9]{12}$'", name=op.f('ck_region_code')),
    sa.CheckConstraint('level BETWEEN 1 AND 5', name=op.f('ck_region_level')),
    sa.ForeignKeyConstraint(['parent_code'], ['region.code'], name=op.f('fk_region_parent_code_region')),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_region'))
    )
    op.create_index('ix_region_parent_code', 'region', ['parent_code', 'code'], unique=False)
    op.create_table('rule_version',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Enum('eligibility', 'risk', 'follow_up', name='rulekind', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('body', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('valid_from', sa.Date(), nullable=False),
    sa.Column('valid_to', sa.Date(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rule_version')),
    sa.UniqueConstraint('kind', 'code', 'version', name=op.f('uq_rule_version_kind_code_version'))
    )
    op.create_table('sign_in',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('door', sa.Text(), nullable=False),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.Column('device', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sign_in'))
    )
    op.create_index('ix_sign_in_account_id', 'sign_in', ['account_id', 'created_at'], unique=False)
    op.create_table('sign_in_throttle',
    sa.Column('username_hash', sa.LargeBinary(), nullable=False),
    sa.Column('failures', sa.BigInteger(), nullable=False),
    sa.Column('failed_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('username_hash', name=op.f('pk_sign_in_throttle'))
    )
    op.create_index('ix_sign_in_throttle_failed_at', 'sign_in_throttle', ['failed_at'], unique=False)
    op.create_table('wechat_token',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('token_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('refreshing_until', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_wechat_token'))
    )
    op.create_table('healthcare_service',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('zh', sa.Text(), nullable=False),
    sa.Column('en', sa.Text(), nullable=False),
    sa.Column('preparation_zh', sa.Text(), nullable=False),
    sa.Column('preparation_en', sa.Text(), nullable=False),
    sa.Column('subject', sa.Enum('person', 'couple', name='subject', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('cycle', sa.Enum('child', 'year', name='cycle', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('rule_code', sa.Text(), nullable=False),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('validity_months', sa.BigInteger(), nullable=False),
    sa.Column('active', sa.Boolean(), nullable=False),
    sa.ForeignKeyConstraint(['region_code'], ['region.code'], name=op.f('fk_healthcare_service_region_code_region')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_healthcare_service')),
    sa.UniqueConstraint('code', name=op.f('uq_healthcare_service_code'))
    )
    op.create_table('organization',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('algorithm', sa.Enum('hmac-sha256', 'hmac-sm3', name='algorithm', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('disabled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['region_code'], ['region.code'], name=op.f('fk_organization_region_code_region')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_organization')),
    sa.UniqueConstraint('name', name=op.f('uq_organization_name'))
    )
    op.create_table('person',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('sex', sa.Enum('male', 'female', name='sex', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('birth_date', sa.Date(), nullable=False),
    sa.Column('document_kind', sa.Enum('resident_id', 'residence_permit', 'permanent_resident', 'passport', 'officer', 'household_book', name='documentkind', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('document_number_sealed', sa.LargeBinary(), nullable=False),
    sa.Column('document_index', sa.LargeBinary(), nullable=False),
    sa.Column('phone_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('phone_index', sa.LargeBinary(), nullable=True),
    sa.Column('hukou_region_code', sa.Text(), nullable=True),
    sa.Column('hukou_type', sa.Enum('rural', 'urban', name='hukoutype', native_enum=False, create_constraint=True, length=40), nullable=True),
    sa.Column('resident_since', sa.Date(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['hukou_region_code'], ['region.code'], name=op.f('fk_person_hukou_region_code_region')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_person')),
    sa.UniqueConstraint('document_index', name='uq_person_document_index')
    )
    op.create_index('ix_person_name', 'person', ['name', 'birth_date'], unique=False)
    op.create_index('ix_person_phone_index', 'person', ['phone_index'], unique=False)
    op.create_table('staff_account',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('username', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('role', sa.Enum('resident', 'village_worker', 'township_officer', 'county_administrator', 'supervisor', 'auditor', 'system_administrator', 'partner', 'system', name='role', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('password_hash', sa.Text(), nullable=False),
    sa.Column('totp_secret_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('totp_enrolled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('totp_last_step', sa.BigInteger(), nullable=True),
    sa.Column('disabled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("role IN ('village_worker', 'township_officer', 'county_administrator', 'supervisor', 'auditor', 'system_administrator')", name=op.f('ck_staff_account_staff_role')),
    sa.ForeignKeyConstraint(['region_code'], ['region.code'], name=op.f('fk_staff_account_region_code_region')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_staff_account')),
    sa.UniqueConstraint('username', name=op.f('uq_staff_account_username'))
    )
    op.create_index('ix_staff_account_region_code', 'staff_account', ['region_code', 'id'], unique=False)
    op.create_table('clinic',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('organization_id', sa.Uuid(), nullable=False),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('address', sa.Text(), nullable=False),
    sa.Column('phone', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['organization_id'], ['organization.id'], name=op.f('fk_clinic_organization_id_organization')),
    sa.ForeignKeyConstraint(['region_code'], ['region.code'], name=op.f('fk_clinic_region_code_region')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_clinic'))
    )
    op.create_table('consent',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('person_id', sa.Uuid(), nullable=False),
    sa.Column('notice_id', sa.Uuid(), nullable=False),
    sa.Column('guardian_id', sa.Uuid(), nullable=True),
    sa.Column('given_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('withdrawn_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['guardian_id'], ['person.id'], name=op.f('fk_consent_guardian_id_person')),
    sa.ForeignKeyConstraint(['notice_id'], ['consent_notice.id'], name=op.f('fk_consent_notice_id_consent_notice')),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_consent_person_id_person')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_consent'))
    )
    op.create_index('uq_consent_person_id_notice_id_live', 'consent', ['person_id', 'notice_id'], unique=True, postgresql_where=sa.text('withdrawn_at IS NULL'))
    op.create_table('couple',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('wife_id', sa.Uuid(), nullable=False),
    sa.Column('husband_id', sa.Uuid(), nullable=False),
    sa.Column('plans_pregnancy', sa.Boolean(), nullable=False),
    sa.Column('valid_from', sa.Date(), nullable=False),
    sa.Column('valid_to', sa.Date(), nullable=True),
    sa.CheckConstraint('wife_id <> husband_id', name=op.f('ck_couple_two_people')),
    sa.ForeignKeyConstraint(['husband_id'], ['person.id'], name=op.f('fk_couple_husband_id_person')),
    sa.ForeignKeyConstraint(['wife_id'], ['person.id'], name=op.f('fk_couple_wife_id_person')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_couple'))
    )
    op.create_index('uq_couple_husband_id_active', 'couple', ['husband_id'], unique=True, postgresql_where=sa.text('valid_to IS NULL'))
    op.create_index('uq_couple_wife_id_active', 'couple', ['wife_id'], unique=True, postgresql_where=sa.text('valid_to IS NULL'))
    op.create_table('partner_key',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('organization_id', sa.Uuid(), nullable=False),
    sa.Column('secret_sealed', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['organization_id'], ['organization.id'], name=op.f('fk_partner_key_organization_id_organization')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_partner_key'))
    )
    op.create_index('ix_partner_key_organization_id', 'partner_key', ['organization_id'], unique=False)
    op.create_table('qualification',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('service_id', sa.Uuid(), nullable=False),
    sa.Column('person_id', sa.Uuid(), nullable=False),
    sa.Column('spouse_id', sa.Uuid(), nullable=True),
    sa.Column('subject_id', sa.Uuid(), nullable=False),
    sa.Column('cycle', sa.Text(), nullable=False),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('rule_version_id', sa.Uuid(), nullable=False),
    sa.Column('facts', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('valid_until', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_qualification_person_id_person')),
    sa.ForeignKeyConstraint(['rule_version_id'], ['rule_version.id'], name=op.f('fk_qualification_rule_version_id_rule_version')),
    sa.ForeignKeyConstraint(['service_id'], ['healthcare_service.id'], name=op.f('fk_qualification_service_id_healthcare_service')),
    sa.ForeignKeyConstraint(['spouse_id'], ['person.id'], name=op.f('fk_qualification_spouse_id_person')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_qualification')),
    sa.UniqueConstraint('service_id', 'person_id', name=op.f('uq_qualification_service_id_person_id'))
    )
    op.create_table('recovery_code',
    sa.Column('code_hash', sa.LargeBinary(), nullable=False),
    sa.Column('staff_id', sa.Uuid(), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['staff_id'], ['staff_account.id'], name=op.f('fk_recovery_code_staff_id_staff_account')),
    sa.PrimaryKeyConstraint('code_hash', name=op.f('pk_recovery_code'))
    )
    op.create_index('ix_recovery_code_staff_id', 'recovery_code', ['staff_id'], unique=False)
    op.create_table('resident_account',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('openid', sa.Text(), nullable=False),
    sa.Column('person_id', sa.Uuid(), nullable=True),
    sa.Column('bound_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_resident_account_person_id_person')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_resident_account')),
    sa.UniqueConstraint('openid', name=op.f('uq_resident_account_openid')),
    sa.UniqueConstraint('person_id', name=op.f('uq_resident_account_person_id'))
    )
    op.create_table('service_item',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('service_id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('zh', sa.Text(), nullable=False),
    sa.Column('en', sa.Text(), nullable=False),
    sa.Column('applies_to', sa.Enum('wife', 'husband', 'both', name='appliesto', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.ForeignKeyConstraint(['service_id'], ['healthcare_service.id'], name=op.f('fk_service_item_service_id_healthcare_service')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_service_item')),
    sa.UniqueConstraint('service_id', 'number', name=op.f('uq_service_item_service_id_number'))
    )
    op.create_table('household',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.BigInteger(), sa.Identity(always=False, start=100001), nullable=False),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=True),
    sa.Column('status', sa.Enum('draft', 'submitted', 'returned', 'active', 'moved_out', 'closed', name='householdstatus', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('family_type', sa.Enum('developing', 'stable', 'elderly', 'new_citizen', name='familytype', native_enum=False, create_constraint=True, length=40), nullable=True),
    sa.Column('address_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('form_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('marks', postgresql.JSONB(astext_type=sa.Text()), server_default='[]', nullable=False),
    sa.Column('submitted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('verified_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('verified_by', sa.Uuid(), nullable=True),
    sa.Column('version', sa.BigInteger(), server_default='1', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['resident_account.id'], name=op.f('fk_household_account_id_resident_account')),
    sa.ForeignKeyConstraint(['region_code'], ['region.code'], name=op.f('fk_household_region_code_region')),
    sa.ForeignKeyConstraint(['verified_by'], ['staff_account.id'], name=op.f('fk_household_verified_by_staff_account')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_household')),
    sa.UniqueConstraint('number', name=op.f('uq_household_number'))
    )
    op.create_index('ix_household_region_code_status', 'household', ['region_code', 'status', 'id'], unique=False)
    op.create_index('uq_household_account_id_pending', 'household', ['account_id'], unique=True, postgresql_where=sa.text("status IN ('draft', 'submitted', 'returned')"))
    op.create_table('message_credit',
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Enum('appointment_reminder', name='messagekind', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('remaining', sa.BigInteger(), nullable=False),
    sa.CheckConstraint('remaining >= 0', name=op.f('ck_message_credit_remaining')),
    sa.ForeignKeyConstraint(['account_id'], ['resident_account.id'], name=op.f('fk_message_credit_account_id_resident_account')),
    sa.PrimaryKeyConstraint('account_id', 'kind', name=op.f('pk_message_credit'))
    )
    op.create_table('observation_definition',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('service_item_id', sa.Uuid(), nullable=False),
    sa.Column('zh', sa.Text(), nullable=False),
    sa.Column('en', sa.Text(), nullable=False),
    sa.Column('applies_to', sa.Enum('wife', 'husband', 'both', name='appliesto', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('value_type', sa.Enum('number', 'code', name='valuetype', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('unit', sa.Text(), nullable=True),
    sa.Column('codes', postgresql.JSONB(astext_type=sa.Text()), server_default='[]', nullable=False),
    sa.ForeignKeyConstraint(['service_item_id'], ['service_item.id'], name=op.f('fk_observation_definition_service_item_id_service_item')),
    sa.PrimaryKeyConstraint('code', 'service_item_id', name=op.f('pk_observation_definition'))
    )
    op.create_table('partner_message',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('organization_id', sa.Uuid(), nullable=False),
    sa.Column('key_id', sa.Uuid(), nullable=False),
    sa.Column('external_id', sa.Text(), nullable=False),
    sa.Column('body_sealed', sa.LargeBinary(), nullable=False),
    sa.Column('body_hash', sa.LargeBinary(), nullable=False),
    sa.Column('signature', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['key_id'], ['partner_key.id'], name=op.f('fk_partner_message_key_id_partner_key')),
    sa.ForeignKeyConstraint(['organization_id'], ['organization.id'], name=op.f('fk_partner_message_organization_id_organization')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_partner_message'))
    )
    op.create_index('ix_partner_message_organization_id', 'partner_message', ['organization_id', 'external_id'], unique=False)
    op.create_table('slot',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('clinic_id', sa.Uuid(), nullable=False),
    sa.Column('service_id', sa.Uuid(), nullable=False),
    sa.Column('starts_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('capacity', sa.BigInteger(), nullable=False),
    sa.Column('booked', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('opens_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sa.Enum('draft', 'open', 'closed', 'cancelled', name='slotstatus', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('booked BETWEEN 0 AND capacity', name=op.f('ck_slot_booked')),
    sa.CheckConstraint('capacity >= 0', name=op.f('ck_slot_capacity')),
    sa.CheckConstraint('ends_at > starts_at', name=op.f('ck_slot_period')),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], name=op.f('fk_slot_clinic_id_clinic')),
    sa.ForeignKeyConstraint(['service_id'], ['healthcare_service.id'], name=op.f('fk_slot_service_id_healthcare_service')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_slot')),
    sa.UniqueConstraint('clinic_id', 'service_id', 'starts_at', name=op.f('uq_slot_clinic_id_service_id_starts_at')),
    postgresql_with={'fillfactor': 50}
    )
    op.create_index('ix_slot_service_id_starts_at', 'slot', ['service_id', 'starts_at', 'id'], unique=False)
    op.create_table('appointment',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('slot_id', sa.Uuid(), nullable=False),
    sa.Column('clinic_id', sa.Uuid(), nullable=False),
    sa.Column('service_id', sa.Uuid(), nullable=False),
    sa.Column('subject_id', sa.Uuid(), nullable=False),
    sa.Column('person_id', sa.Uuid(), nullable=False),
    sa.Column('spouse_id', sa.Uuid(), nullable=True),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('cycle', sa.Text(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('starts_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sa.Enum('held', 'booked', 'expired', 'arrived', 'fulfilled', 'cancelled', 'no_show', 'entered_in_error', name='appointmentstatus', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['resident_account.id'], name=op.f('fk_appointment_account_id_resident_account')),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_appointment_person_id_person')),
    sa.ForeignKeyConstraint(['spouse_id'], ['person.id'], name=op.f('fk_appointment_spouse_id_person')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_appointment')),
    sa.UniqueConstraint('code', name=op.f('uq_appointment_code'))
    )
    op.create_index('ix_appointment_clinic_id_starts_at', 'appointment', ['clinic_id', 'starts_at', 'id'], unique=False)
    op.create_index('ix_appointment_person_id', 'appointment', ['person_id', 'id'], unique=False)
    op.create_index('ix_appointment_slot_id', 'appointment', ['slot_id'], unique=False)
    op.create_index('ix_appointment_spouse_id', 'appointment', ['spouse_id', 'id'], unique=False)
    op.create_index('ix_appointment_starts_at', 'appointment', ['starts_at', 'id'], unique=False)
    op.create_index('uq_appointment_subject_id_service_id_cycle_active', 'appointment', ['subject_id', 'service_id', 'cycle'], unique=True, postgresql_where=sa.text("status IN ('held', 'booked', 'arrived', 'fulfilled')"))
    op.create_table('category',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('person_id', sa.Uuid(), nullable=True),
    sa.Column('household_id', sa.Uuid(), nullable=True),
    sa.Column('grade', sa.BigInteger(), nullable=True),
    sa.Column('evidence_sealed', sa.LargeBinary(), nullable=False),
    sa.Column('valid_from', sa.Date(), nullable=False),
    sa.Column('valid_to', sa.Date(), nullable=True),
    sa.Column('verified_by', sa.Uuid(), nullable=False),
    sa.CheckConstraint('grade BETWEEN 1 AND 4', name=op.f('ck_category_grade')),
    sa.CheckConstraint('num_nonnulls(person_id, household_id) = 1', name=op.f('ck_category_one_holder')),
    sa.ForeignKeyConstraint(['code'], ['category_definition.code'], name=op.f('fk_category_code_category_definition')),
    sa.ForeignKeyConstraint(['household_id'], ['household.id'], name=op.f('fk_category_household_id_household')),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_category_person_id_person')),
    sa.ForeignKeyConstraint(['verified_by'], ['staff_account.id'], name=op.f('fk_category_verified_by_staff_account')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_category'))
    )
    op.create_index('ix_category_code', 'category', ['code', 'valid_to'], unique=False)
    op.create_index('ix_category_household_id', 'category', ['household_id'], unique=False)
    op.create_index('ix_category_person_id', 'category', ['person_id'], unique=False)
    op.create_table('household_event',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('household_id', sa.Uuid(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('actor_role', sa.Text(), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=True),
    sa.Column('note', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['household_id'], ['household.id'], name=op.f('fk_household_event_household_id_household')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_household_event'))
    )
    op.create_index('ix_household_event_household_id', 'household_event', ['household_id', 'id'], unique=False)
    op.create_table('membership',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('household_id', sa.Uuid(), nullable=False),
    sa.Column('person_id', sa.Uuid(), nullable=False),
    sa.Column('relation', sa.Enum('head', 'spouse', 'child', 'parent', 'other', name='relation', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('valid_from', sa.Date(), nullable=False),
    sa.Column('valid_to', sa.Date(), nullable=True),
    sa.CheckConstraint('valid_to >= valid_from', name=op.f('ck_membership_period')),
    sa.ForeignKeyConstraint(['household_id'], ['household.id'], name=op.f('fk_membership_household_id_household')),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_membership_person_id_person')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_membership'))
    )
    op.create_index('ix_membership_household_id', 'membership', ['household_id'], unique=False)
    op.create_index('uq_membership_person_id_active', 'membership', ['person_id'], unique=True, postgresql_where=sa.text('valid_to IS NULL'))
    op.create_table('appointment_event',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('appointment_id', sa.Uuid(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sa.Enum('held', 'booked', 'expired', 'arrived', 'fulfilled', 'cancelled', 'no_show', 'entered_in_error', name='appointmentstatus', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('actor_role', sa.Text(), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=True),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['appointment_id'], ['appointment.id'], name=op.f('fk_appointment_event_appointment_id_appointment')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_appointment_event'))
    )
    op.create_index('ix_appointment_event_appointment_id', 'appointment_event', ['appointment_id', 'id'], unique=False)
    op.create_table('diagnostic_report',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('organization_id', sa.Uuid(), nullable=False),
    sa.Column('external_id', sa.Text(), nullable=False),
    sa.Column('appointment_id', sa.Uuid(), nullable=False),
    sa.Column('service_id', sa.Uuid(), nullable=False),
    sa.Column('person_id', sa.Uuid(), nullable=False),
    sa.Column('spouse_id', sa.Uuid(), nullable=True),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('current_version', sa.BigInteger(), nullable=False),
    sa.Column('status', sa.Enum('registered', 'partial', 'preliminary', 'final', 'amended', 'corrected', 'appended', 'cancelled', 'entered_in_error', name='reportstatus', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('risk_class', sa.Enum('general', 'A', 'B', 'C', 'D', 'X', name='riskclass', native_enum=False, create_constraint=True, length=40), nullable=True),
    sa.Column('issued_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['appointment_id'], ['appointment.id'], name=op.f('fk_diagnostic_report_appointment_id_appointment')),
    sa.ForeignKeyConstraint(['organization_id'], ['organization.id'], name=op.f('fk_diagnostic_report_organization_id_organization')),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_diagnostic_report_person_id_person')),
    sa.ForeignKeyConstraint(['service_id'], ['healthcare_service.id'], name=op.f('fk_diagnostic_report_service_id_healthcare_service')),
    sa.ForeignKeyConstraint(['spouse_id'], ['person.id'], name=op.f('fk_diagnostic_report_spouse_id_person')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_diagnostic_report')),
    sa.UniqueConstraint('organization_id', 'external_id', name=op.f('uq_diagnostic_report_organization_id_external_id'))
    )
    op.create_index('ix_diagnostic_report_appointment_id', 'diagnostic_report', ['appointment_id'], unique=False)
    op.create_index('ix_diagnostic_report_person_id', 'diagnostic_report', ['person_id', 'id'], unique=False)
    op.create_index('ix_diagnostic_report_region_code', 'diagnostic_report', ['region_code', 'id'], unique=False)
    op.create_index('ix_diagnostic_report_spouse_id', 'diagnostic_report', ['spouse_id', 'id'], unique=False)
    op.create_table('subscription_message',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('account_id', sa.Uuid(), nullable=False),
    sa.Column('appointment_id', sa.Uuid(), nullable=False),
    sa.Column('kind', sa.Enum('appointment_reminder', name='messagekind', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('status', sa.Enum('queued', 'sending', 'sent', 'refused', name='messagestatus', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('attempts', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('error_code', sa.BigInteger(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('next_attempt_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['resident_account.id'], name=op.f('fk_subscription_message_account_id_resident_account')),
    sa.ForeignKeyConstraint(['appointment_id'], ['appointment.id'], name=op.f('fk_subscription_message_appointment_id_appointment')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_subscription_message')),
    sa.UniqueConstraint('appointment_id', 'account_id', 'kind', name=op.f('uq_subscription_message_appointment_id_account_id_kind'))
    )
    op.create_index('ix_subscription_message_queued', 'subscription_message', ['next_attempt_at'], unique=False, postgresql_where=sa.text("status = 'queued'"))
    op.create_table('follow_up',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('report_id', sa.Uuid(), nullable=False),
    sa.Column('person_id', sa.Uuid(), nullable=False),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('kind', sa.Enum('result_told', 'counselling', 'referral', 'early_pregnancy', 'outcome', name='followupkind', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('status', sa.Enum('open', 'in_progress', 'done', 'obsolete', name='followupstatus', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('due_on', sa.Date(), nullable=False),
    sa.Column('outcome', postgresql.JSONB(astext_type=sa.Text()), nullable=True),
    sa.Column('completed_by', sa.Uuid(), nullable=True),
    sa.Column('completed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('version', sa.BigInteger(), server_default='1', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['completed_by'], ['staff_account.id'], name=op.f('fk_follow_up_completed_by_staff_account')),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_follow_up_person_id_person')),
    sa.ForeignKeyConstraint(['report_id'], ['diagnostic_report.id'], name=op.f('fk_follow_up_report_id_diagnostic_report')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_follow_up')),
    sa.UniqueConstraint('report_id', 'person_id', 'kind', name=op.f('uq_follow_up_report_id_person_id_kind'))
    )
    op.create_index('ix_follow_up_due_on_live', 'follow_up', ['due_on', 'id'], unique=False, postgresql_where=sa.text("status IN ('open', 'in_progress')"))
    op.create_index('ix_follow_up_person_id', 'follow_up', ['person_id', 'id'], unique=False)
    op.create_index('ix_follow_up_region_code', 'follow_up', ['region_code', 'due_on', 'id'], unique=False)
    op.create_table('observation',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('report_id', sa.Uuid(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('person_id', sa.Uuid(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('value_number', sa.Numeric(), nullable=True),
    sa.Column('value_code', sa.Text(), nullable=True),
    sa.Column('unit', sa.Text(), nullable=True),
    sa.Column('range_low', sa.Numeric(), nullable=True),
    sa.Column('range_high', sa.Numeric(), nullable=True),
    sa.Column('interpretation', sa.Enum('normal', 'low', 'high', 'abnormal', name='interpretation', native_enum=False, create_constraint=True, length=40), nullable=True),
    sa.CheckConstraint('num_nonnulls(value_number, value_code) = 1', name=op.f('ck_observation_one_value')),
    sa.ForeignKeyConstraint(['person_id'], ['person.id'], name=op.f('fk_observation_person_id_person')),
    sa.ForeignKeyConstraint(['report_id'], ['diagnostic_report.id'], name=op.f('fk_observation_report_id_diagnostic_report')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_observation')),
    sa.UniqueConstraint('report_id', 'version', 'person_id', 'code', name=op.f('uq_observation_report_id_version_person_id_code'))
    )
    op.create_index('ix_observation_person_id', 'observation', ['person_id', 'code'], unique=False)
    op.create_table('report_version',
    sa.Column('report_id', sa.Uuid(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('status', sa.Enum('registered', 'partial', 'preliminary', 'final', 'amended', 'corrected', 'appended', 'cancelled', 'entered_in_error', name='reportstatus', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('issued_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('conclusion_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('stated_risk', sa.Enum('general', 'A', 'B', 'C', 'D', 'X', name='riskclass', native_enum=False, create_constraint=True, length=40), nullable=True),
    sa.Column('content_hash', sa.LargeBinary(), nullable=False),
    sa.Column('message_id', sa.Uuid(), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['message_id'], ['partner_message.id'], name=op.f('fk_report_version_message_id_partner_message')),
    sa.ForeignKeyConstraint(['report_id'], ['diagnostic_report.id'], name=op.f('fk_report_version_report_id_diagnostic_report')),
    sa.PrimaryKeyConstraint('report_id', 'version', name=op.f('pk_report_version')),
    sa.UniqueConstraint('id', name=op.f('uq_report_version_id'))
    )
    op.create_table('risk_assessment',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('report_id', sa.Uuid(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('rule_version_id', sa.Uuid(), nullable=False),
    sa.Column('risk_class', sa.Enum('general', 'A', 'B', 'C', 'D', 'X', name='riskclass', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('source', sa.Enum('hospital', 'rule', name='risksource', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('findings', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('assessed_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['report_id'], ['diagnostic_report.id'], name=op.f('fk_risk_assessment_report_id_diagnostic_report')),
    sa.ForeignKeyConstraint(['rule_version_id'], ['rule_version.id'], name=op.f('fk_risk_assessment_rule_version_id_rule_version')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_risk_assessment')),
    sa.UniqueConstraint('report_id', 'version', 'rule_version_id', name=op.f('uq_risk_assessment_report_id_version_rule_version_id'))
    )
    op.create_table('follow_up_event',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('follow_up_id', sa.Uuid(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sa.Enum('open', 'in_progress', 'done', 'obsolete', name='followupstatus', native_enum=False, create_constraint=True, length=40), nullable=False),
    sa.Column('actor_role', sa.Text(), nullable=False),
    sa.Column('actor_id', sa.Uuid(), nullable=True),
    sa.ForeignKeyConstraint(['follow_up_id'], ['follow_up.id'], name=op.f('fk_follow_up_event_follow_up_id_follow_up')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_follow_up_event'))
    )
    op.create_index('ix_follow_up_event_follow_up_id', 'follow_up_event', ['follow_up_id', 'id'], unique=False)
