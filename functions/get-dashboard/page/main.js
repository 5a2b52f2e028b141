import { operations } from './api.js';

const state = document.getElementById('state');
try {
  state.textContent = `The API has ${await operations()} operations.`;
} catch (error) {
  state.textContent = error.message;
}
