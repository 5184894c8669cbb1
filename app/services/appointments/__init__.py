"""Appointments: the catalogue of services, slots, booking, attendance."""
